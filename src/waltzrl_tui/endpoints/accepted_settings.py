"""Which settings an OpenAI-compatible server takes: found out by its refusals, then kept."""

from __future__ import annotations

import re
from typing import Any, Final

_OPTIONAL: Final = ("temperature", "seed", "stream_options")
_NOT_TAKEN: Final = re.compile(
    r"unsupported|not support|does not support|extra|unrecognized|unknown|not permitted|forbidden"
    r"|not allowed|only the default|deprecated|unexpected",
    re.I,
)


class Form:
    """The settings of requests to one server and model."""

    def __init__(self) -> None:
        self._cap = "max_tokens"
        self._without: set[str] = set()

    @property
    def without(self) -> tuple[str, ...]:
        """Settings that the server refused and that are no longer sent; the cap always is."""
        return tuple(sorted(self._without - {"stream_options"}))

    def settings(
        self, *, max_tokens: int, temperature: float, seed: int | None, streaming: bool
    ) -> dict[str, Any]:
        """What a request says besides model and messages."""
        wish: dict[str, Any] = {"temperature": temperature}
        if seed is not None:
            wish["seed"] = seed
        if streaming:
            wish["stream_options"] = {"include_usage": True}
        kept = {name: value for name, value in wish.items() if name not in self._without}
        return {self._cap: max_tokens, **kept}

    def adapt(self, status: int, words: str) -> bool:
        """Whether the refusal names a setting that can be left out or called otherwise."""
        if status not in (400, 422):
            return False
        if self._cap == "max_tokens" and "max_completion_tokens" in words:
            self._cap = "max_completion_tokens"
            return True
        if not _NOT_TAKEN.search(words):
            return False
        for name in _OPTIONAL:
            if name in words and name not in self._without:
                self._without.add(name)
                return True
        return False
