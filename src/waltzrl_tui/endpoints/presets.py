"""Known servers of models by one word: address, kind and key variable."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from waltzrl_tui.records.providers import PROVIDERS

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


def _of(name: str, title: str = "", kind: AgentKind = "openai") -> Preset:
    facts = PROVIDERS[name]
    return Preset(
        title or facts.title, facts.chat_url, facts.keys[0], kind=kind, others=facts.other_urls
    )


PRESETS: Final[dict[str, Preset]] = {
    "openai": _of("openai"),
    "together": _of("together"),
    "fireworks": _of("fireworks"),
    "mistral": _of("mistral"),
    "hf": _of("hf_jobs", "the Hugging Face router"),
    "anthropic": _of("anthropic", kind="anthropic"),
    # Its credentials are AWS's own: a key pair, a profile or a Bedrock API key.
    "bedrock": Preset("Amazon Bedrock", "bedrock:", "", "bedrock"),
    "vllm": Preset("vLLM", "http://127.0.0.1:8000/v1"),
    "llamacpp": Preset("llama.cpp", "http://127.0.0.1:8080/v1"),
    "ollama": Preset("Ollama", "http://127.0.0.1:11434/v1"),
}
