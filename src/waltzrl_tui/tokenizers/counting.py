"""Count tokens with a model's own tokenizer where it is available offline; else estimate."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Protocol

from waltzrl_tui.tokenizers.estimate import ESTIMATE_ERROR, estimate_tokens

Chat = Sequence[Mapping[str, str]]
"""Messages with `role` and `content`."""

TURN_TOKENS: Final = 5
"""Tokens that a chat template adds per message, in estimates: ChatML and Llama 3 both add 5."""

_CHATML: Final = ("<|im_start|>{role}\n", "<|im_end|>\n", "")
_LLAMA3: Final = (
    "<|start_header_id|>{role}<|end_header_id|>\n\n",
    "<|eot_id|>",
    "<|begin_of_text|>",
)
_MISTRAL_FILES: Final = {
    "Mistral v3": "mistral_instruct_tokenizer_240323.model.v3",
    "Mistral Tekken": "tekken_240911.json",
}
_LARGEST_FILE: Final = 64 * 1024 * 1024


class TokenCounter(Protocol):
    """Counts the tokens of chats, including those of the chat template.

    Attributes:
        name: The tokenizer's name, or "estimate".
        exact: Whether this is the model's own tokenizer.
        error: Relative error, 0 when exact.
    """

    @property
    def name(self) -> str: ...
    @property
    def exact(self) -> bool: ...
    @property
    def error(self) -> float: ...

    def count(self, chats: Sequence[Chat]) -> list[int]:
        """Tokens of each chat."""
        ...


@dataclass(frozen=True, slots=True)
class Estimate:
    """The estimate of `estimate_tokens`, with `TURN_TOKENS` per message."""

    name: str = "estimate"
    exact: bool = False
    error: float = ESTIMATE_ERROR

    def count(self, chats: Sequence[Chat]) -> list[int]:
        # System prompts repeat in every row.
        known: dict[str, int] = {}

        def one(text: str) -> int:
            if len(text) > 400:
                return estimate_tokens(text)
            count = known.get(text)
            if count is None:
                count = known[text] = estimate_tokens(text)
            return count

        return [sum(one(turn["content"]) + TURN_TOKENS for turn in chat) for chat in chats]


@dataclass(frozen=True, slots=True)
class TokenizerFile:
    """A `tokenizer.json`, with the chat template of its family (ChatML or Llama 3)."""

    name: str
    path: Path
    exact: bool = True
    error: float = 0.0
    _loaded: list[Any] = field(default_factory=list, compare=False, repr=False)

    def count(self, chats: Sequence[Chat]) -> list[int]:
        from tokenizers import Tokenizer

        if not self._loaded:
            self._loaded.append(Tokenizer.from_file(str(self.path)))
        tokenizer = self._loaded[0]
        llama = tokenizer.token_to_id("<|start_header_id|>") is not None
        begin, end, first = _LLAMA3 if llama else _CHATML
        texts = [
            first
            + "".join(f"{begin.format(role=turn['role'])}{turn['content']}{end}" for turn in chat)
            for chat in chats
        ]
        return [len(one.ids) for one in tokenizer.encode_batch(texts, add_special_tokens=False)]


@dataclass(frozen=True, slots=True)
class MistralFile:
    """A vocabulary from the package mistral-common, with its own template."""

    name: str
    path: Path
    exact: bool = True
    error: float = 0.0

    def count(self, chats: Sequence[Chat]) -> list[int]:
        from mistral_common.protocol.instruct.messages import (
            AssistantMessage,
            SystemMessage,
            UserMessage,
        )
        from mistral_common.protocol.instruct.request import ChatCompletionRequest
        from mistral_common.protocol.instruct.validator import ValidationMode
        from mistral_common.tokens.tokenizers.mistral import MistralTokenizer

        # A chat may end with the assistant's message.
        finetuning: Any = ValidationMode.finetuning
        tokenizer = MistralTokenizer.from_file(str(self.path), mode=finetuning)
        kinds = {"system": SystemMessage, "user": UserMessage, "assistant": AssistantMessage}
        counts = []
        for chat in chats:
            messages = [kinds[turn["role"]](content=turn["content"]) for turn in chat]
            request = ChatCompletionRequest[Any](messages=messages)
            counts.append(len(tokenizer.encode_chat_completion(request).tokens))
        return counts


@dataclass(frozen=True, slots=True)
class Tiktoken:
    """An OpenAI encoding whose file is in tiktoken's cache; 3 tokens per message, as in
    OpenAI's cookbook."""

    name: str
    exact: bool = True
    error: float = 0.0

    def count(self, chats: Sequence[Chat]) -> list[int]:
        import tiktoken

        encoding = tiktoken.get_encoding(self.name)
        return [
            3
            + sum(
                3
                + len(encoding.encode_ordinary(turn["role"]))
                + len(encoding.encode_ordinary(turn["content"]))
                for turn in chat
            )
            for chat in chats
        ]


def find_tokenizer(name: str, hub: str = "", files: Sequence[Path] = ()) -> TokenCounter | None:
    """The tokenizer of that name if it is on this machine, else None; nothing is downloaded.

    Args:
        name: Its name in the catalogue: "Qwen3", "Llama 3", "Mistral v3", "o200k_base" …
        hub: The model on the hub whose tokenizer may be in the cache.
        files: `tokenizer.json` files to try first.
    """
    if path := next((path for path in files if _usable(path)), None):
        return TokenizerFile(name, path)
    if name in _MISTRAL_FILES:
        return _packaged_mistral(name)
    if name.endswith("_base"):
        return Tiktoken(name) if _has_encoding(name) else None
    if hub and (path := _cached(hub)) is not None:
        return TokenizerFile(name, path)
    return None


def hub_home() -> Path:
    """The folder of the hub's own client, with its cache and its login."""
    usual = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache"), "huggingface")
    return Path(os.environ.get("HF_HOME") or usual).expanduser()


def _usable(path: Path) -> bool:
    try:
        return 0 < path.stat().st_size <= _LARGEST_FILE and find_spec("tokenizers") is not None
    except OSError:
        return False


def _cached(hub: str) -> Path | None:
    """`tokenizer.json` of a model in the hub's cache. Reads its layout without importing the
    hub's client, which takes half a second."""
    home = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE")
    if home is None:
        home = str(hub_home() / "hub")
    folder = Path(home).expanduser() / f"models--{hub.replace('/', '--')}"
    with suppress(OSError, ValueError):
        revision = (folder / "refs" / "main").read_text("utf-8").strip()
        path = folder / "snapshots" / revision / "tokenizer.json"
        if _usable(path):
            return path
    return None


def _packaged_mistral(name: str) -> MistralFile | None:
    reader = "tiktoken" if _MISTRAL_FILES[name].endswith(".json") else "sentencepiece"
    if find_spec(reader) is None:
        return None
    spec = find_spec("mistral_common")
    for place in (spec.submodule_search_locations or []) if spec else []:
        path = Path(place) / "data" / _MISTRAL_FILES[name]
        if path.is_file():
            return MistralFile(name, path)
    return None


def _has_encoding(name: str) -> bool:
    """Whether the encoding's file is in tiktoken's cache."""
    if find_spec("tiktoken") is None:
        return False
    import hashlib
    import tempfile

    named = os.environ.get("TIKTOKEN_CACHE_DIR") or os.environ.get("DATA_GYM_CACHE_DIR")
    folder = named or Path(tempfile.gettempdir(), "data-gym-cache")
    address = f"https://openaipublic.blob.core.windows.net/encodings/{name}.tiktoken"
    return (Path(folder) / hashlib.sha1(address.encode()).hexdigest()).is_file()
