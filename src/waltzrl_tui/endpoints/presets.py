"""Known servers of models by one word: address, kind and key variable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    # The command line's parser reads this module, and must not wait for the store.
    from waltzrl_tui.store.rows import AgentKind


@dataclass(frozen=True, slots=True)
class Preset:
    """A known server.

    Attributes:
        title: Its usual name.
        url: Of its API; `bedrock:` selects a client and is not an address.
        key: The variable with its key; "" if none is needed.
        others: More addresses of the same provider; its key may go there as well.
    """

    title: str
    url: str
    key: str = ""
    kind: AgentKind = "openai"
    others: tuple[str, ...] = ()


PRESETS: Final[dict[str, Preset]] = {
    "openai": Preset(
        "OpenAI",
        "https://api.openai.com/v1",
        "OPENAI_API_KEY",
        others=("https://eu.api.openai.com", "https://us.api.openai.com"),
    ),
    "together": Preset(
        "Together",
        "https://api.together.ai/v1",
        "TOGETHER_API_KEY",
        others=("https://api.together.xyz",),
    ),
    "fireworks": Preset("Fireworks", "https://api.fireworks.ai/inference/v1", "FIREWORKS_API_KEY"),
    "mistral": Preset("Mistral", "https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
    "hf": Preset("the Hugging Face router", "https://router.huggingface.co/v1", "HF_TOKEN"),
    "anthropic": Preset("Anthropic", "https://api.anthropic.com", "ANTHROPIC_API_KEY", "anthropic"),
    # Its credentials are AWS's own: a key pair, a profile or a Bedrock API key.
    "bedrock": Preset("Amazon Bedrock", "bedrock:", "", "bedrock"),
    "vllm": Preset("vLLM", "http://127.0.0.1:8000/v1"),
    "llamacpp": Preset("llama.cpp", "http://127.0.0.1:8080/v1"),
    "ollama": Preset("Ollama", "http://127.0.0.1:11434/v1"),
}
