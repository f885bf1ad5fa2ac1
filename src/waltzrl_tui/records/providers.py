"""The one table of providers: the facts of each, from which everything else takes them.

Prices, models and dated availability are in the catalogue (`plans/catalogue.toml`). Nothing here
imports an SDK.
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
    """What is known about a provider without a request.

    Attributes:
        title: Its short name on screens and in messages.
        keys: Variables, one of which must hold a key; empty where none is needed.
        other_keys: Further variables with secrets that its client reads by itself.
        adapter: `module:class` of its adapter; "" where it can only be priced.
        methods: Training methods; empty where nothing can be trained.
        style: Format of its training files; None where it takes none of ours.
        tag_length: Characters of the field that carries a job's tag; None where not known.
        concurrent_jobs: Most unfinished jobs at once; None where not known.
        chat_url: Address of its chat completions, up to `/v1`; "" where it has none.
        other_urls: Further addresses of its own that may receive its key.
    """

    title: str
    keys: tuple[str, ...] = ()
    other_keys: tuple[str, ...] = ()
    adapter: str = ""
    methods: tuple[Method, ...] = ("sft",)
    style: FileStyle | None = "chat"
    tag_length: int | None = None
    concurrent_jobs: int | None = None
    chat_url: str = ""
    other_urls: tuple[str, ...] = ()


_ADAPTERS: Final = "waltzrl_tui.providers"
_AWS: Final = ("AWS_ACCESS_KEY_ID", "AWS_PROFILE")
_AWS_SECRETS: Final = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_BEARER_TOKEN_BEDROCK")

PROVIDERS: Final[dict[str, ProviderFacts]] = {
    EMBEDDED: ProviderFacts(title="embedded", style="local"),
    "own_gpu": ProviderFacts(title="own GPU", style=None),
    "together": ProviderFacts(
        title="Together",
        keys=("TOGETHER_API_KEY",),
        adapter=f"{_ADAPTERS}.together.provider:Together",
        methods=("sft", "dpo"),
        tag_length=40,
        chat_url="https://api.together.ai/v1",
        other_urls=("https://api.together.xyz",),
    ),
    "bedrock": ProviderFacts(
        title="Bedrock Nova",
        keys=_AWS,
        other_keys=_AWS_SECRETS,
        adapter=f"{_ADAPTERS}.bedrock.provider:Bedrock",
        style="bedrock",
        tag_length=63,
        concurrent_jobs=2,
    ),
    "bedrock_llama": ProviderFacts(
        title="Bedrock Llama",
        keys=_AWS,
        other_keys=_AWS_SECRETS,
        adapter=f"{_ADAPTERS}.bedrock.provider:BedrockLlama",
        style="bedrock_pairs",
        tag_length=63,
        concurrent_jobs=2,
    ),
    "hf_jobs": ProviderFacts(
        title="HF Jobs",
        keys=("HF_TOKEN",),
        other_keys=("HUGGING_FACE_HUB_TOKEN",),
        adapter=f"{_ADAPTERS}.huggingface.provider:HuggingFace",
        style="local",
        tag_length=80,
        chat_url="https://router.huggingface.co/v1",
    ),
    "fireworks": ProviderFacts(
        title="Fireworks",
        keys=("FIREWORKS_API_KEY",),
        adapter=f"{_ADAPTERS}.fireworks.provider:Fireworks",
        methods=("sft", "dpo"),
        tag_length=60,
        chat_url="https://api.fireworks.ai/inference/v1",
    ),
    "mistral": ProviderFacts(
        title="Mistral",
        keys=("MISTRAL_API_KEY",),
        adapter=f"{_ADAPTERS}.mistral.provider:Mistral",
        tag_length=18,
        concurrent_jobs=2,
        chat_url="https://api.mistral.ai/v1",
    ),
    "openai": ProviderFacts(
        title="OpenAI",
        keys=("OPENAI_API_KEY",),
        other_keys=("OPENAI_ADMIN_KEY",),
        adapter=f"{_ADAPTERS}.openai.provider:OpenAI",
        methods=("sft", "dpo"),
        tag_length=64,
        chat_url="https://api.openai.com/v1",
        other_urls=("https://eu.api.openai.com", "https://us.api.openai.com"),
    ),
    "anthropic": ProviderFacts(
        title="Anthropic",
        # Its models chat and judge; none can be trained.
        methods=(),
        style=None,
        keys=("ANTHROPIC_API_KEY",),
        other_keys=("ANTHROPIC_AUTH_TOKEN",),
        chat_url="https://api.anthropic.com",
    ),
    "tinker": ProviderFacts(title="Tinker", keys=("TINKER_API_KEY",)),
    "runpod": ProviderFacts(title="RunPod", keys=("RUNPOD_API_KEY",)),
    "vast": ProviderFacts(title="Vast.ai", keys=("VAST_API_KEY",)),
    "lambda": ProviderFacts(title="Lambda", keys=("LAMBDA_API_KEY",)),
    "hf_autotrain": ProviderFacts(title="HF AutoTrain", keys=("HF_TOKEN",), style=None),
    "claude_haiku": ProviderFacts(title="Claude Haiku", keys=_AWS, style=None),
}
