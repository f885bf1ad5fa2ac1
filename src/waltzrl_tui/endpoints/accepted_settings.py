"""Which settings an OpenAI-compatible server accepts: learned from its refusals, then kept."""

from __future__ import annotations

import re
from typing import Any, Final

_OPTIONAL: Final = ("temperature", "seed", "stream_options")
_REFUSAL: Final = re.compile(
    r"unsupported|not support|does not support|extra|unrecognized|unknown|not permitted|forbidden"
    r"|not allowed|only the default|deprecated|unexpected",
    re.I,
)


class AcceptedSettings:
    """The settings of requests to one server and model."""

    def __init__(self) -> None:
        self._cap_name = "max_tokens"
        self._refused: set[str] = set()

    @property
    def refused(self) -> tuple[str, ...]:
        """Settings that the server refused and that are no longer sent. The cap always is."""
        return tuple(sorted(self._refused - {"stream_options"}))

    def build(
        self, *, max_tokens: int, temperature: float, seed: int | None, streaming: bool
    ) -> dict[str, Any]:
        """The body of a request besides model and messages."""
        settings: dict[str, Any] = {self._cap_name: max_tokens, "temperature": temperature}
        if seed is not None:
            settings["seed"] = seed
        if streaming:
            settings["stream_options"] = {"include_usage": True}
        return {name: value for name, value in settings.items() if name not in self._refused}

    def adapt(self, status: int, words: str) -> bool:
        """Whether the refusal names a setting that can be left out or renamed."""
        if status not in (400, 422):
            return False
        if self._cap_name == "max_tokens" and "max_completion_tokens" in words:
            self._cap_name = "max_completion_tokens"
            return True
        if not _REFUSAL.search(words):
            return False
        for name in _OPTIONAL:
            if name in words and name not in self._refused:
                self._refused.add(name)
                return True
        return False
