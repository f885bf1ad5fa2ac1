"""The one table of providers: each provider's own facts, which everything else reads.

Prices and dated limits are data of the catalogue (`plans/catalogue.toml`). Nothing here needs an
SDK, and whoever adds a provider of OpenAI's shape writes an entry here and a subclass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from waltzrl_tui.records.roles import Method

EMBEDDED: Final = "embedded"
"""The engine on this machine: its jobs have workers here, and nothing is billed."""

FileStyle = Literal["local", "chat", "bedrock", "bedrock_pairs"]
"""How rows are sent: our own lines (`local`), `messages` with a system turn (`chat`), or Bedrock's
conversations (of its Converse API) and pairs of prompt and completion (Llama 3.1)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderFacts:
    """What is known of a provider without asking it.

    Attributes:
        title: As people call it.
        keys: Variables of which one must hold a key; empty where none is needed.
        other_keys: Further variables with secrets, which its client reads by itself.
        adapter: `module:class` of what speaks to it; "" where only the plan knows it.
        methods: Of training.
        style: Of its training files.
        concurrent_jobs: At most so many unfinished jobs at once; None when not known.
        chat_url: Of its chat completions, up to `/v1`; "" where it has none.
        other_urls: Further addresses of its own, to which its key may go as well.
    """

    title: str
    keys: tuple[str, ...] = ()
    other_keys: tuple[str, ...] = ()
    adapter: str = ""
    methods: tuple[Method, ...] = ("sft",)
    style: FileStyle = "chat"
    concurrent_jobs: int | None = None
    chat_url: str = ""
    other_urls: tuple[str, ...] = ()


_ADAPTERS: Final = "waltzrl_tui.providers"
_AWS: Final = ("AWS_ACCESS_KEY_ID", "AWS_PROFILE")
_AWS_SECRETS: Final = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_BEARER_TOKEN_BEDROCK")

PROVIDERS: Final[dict[str, ProviderFacts]] = {
    EMBEDDED: ProviderFacts(title="the embedded engine", style="local"),
    "together": ProviderFacts(
        title="Together",
        keys=("TOGETHER_API_KEY",),
        adapter=f"{_ADAPTERS}.together.provider:Together",
        methods=("sft", "dpo"),
        chat_url="https://api.together.ai/v1",
        other_urls=("https://api.together.xyz",),
    ),
    "bedrock": ProviderFacts(
        title="Bedrock Nova",
        keys=_AWS,
        other_keys=_AWS_SECRETS,
        adapter=f"{_ADAPTERS}.bedrock.provider:Bedrock",
        style="bedrock",
        concurrent_jobs=2,
    ),
    "bedrock_llama": ProviderFacts(
        title="Bedrock Llama",
        keys=_AWS,
        other_keys=_AWS_SECRETS,
        adapter=f"{_ADAPTERS}.bedrock.provider:BedrockLlama",
        style="bedrock_pairs",
        concurrent_jobs=2,
    ),
    "hf_jobs": ProviderFacts(
        title="Hugging Face Jobs",
        keys=("HF_TOKEN",),
        other_keys=("HUGGING_FACE_HUB_TOKEN",),
        adapter=f"{_ADAPTERS}.huggingface.provider:HuggingFace",
        style="local",
        chat_url="https://router.huggingface.co/v1",
    ),
    "fireworks": ProviderFacts(
        title="Fireworks",
        keys=("FIREWORKS_API_KEY",),
        adapter=f"{_ADAPTERS}.fireworks.provider:Fireworks",
        methods=("sft", "dpo"),
        chat_url="https://api.fireworks.ai/inference/v1",
    ),
    "mistral": ProviderFacts(
        title="Mistral",
        keys=("MISTRAL_API_KEY",),
        adapter=f"{_ADAPTERS}.mistral.provider:Mistral",
        concurrent_jobs=2,
        chat_url="https://api.mistral.ai/v1",
    ),
    "openai": ProviderFacts(
        title="OpenAI",
        keys=("OPENAI_API_KEY",),
        other_keys=("OPENAI_ADMIN_KEY",),
        adapter=f"{_ADAPTERS}.openai.provider:OpenAI",
        methods=("sft", "dpo"),
        chat_url="https://api.openai.com/v1",
        other_urls=("https://eu.api.openai.com", "https://us.api.openai.com"),
    ),
    "anthropic": ProviderFacts(
        title="Anthropic",
        # Nothing can be trained there; models of it chat and judge.
        methods=(),
        keys=("ANTHROPIC_API_KEY",),
        other_keys=("ANTHROPIC_AUTH_TOKEN",),
        chat_url="https://api.anthropic.com",
    ),
    "tinker": ProviderFacts(title="Tinker", keys=("TINKER_API_KEY",)),
    "runpod": ProviderFacts(title="RunPod", keys=("RUNPOD_API_KEY",)),
    "vast": ProviderFacts(title="Vast.ai", keys=("VAST_API_KEY",)),
    "lambda": ProviderFacts(title="Lambda", keys=("LAMBDA_API_KEY",)),
}
