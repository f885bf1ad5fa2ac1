"""Between a provider and us: no key leaves it in words, and a key that is refused is named."""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import fields, is_dataclass, replace
from typing import Any, Final, cast

from waltzrl_tui.errors import WaltzError
from waltzrl_tui.keys import Keys, find_key
from waltzrl_tui.providers.errors import AuthError, ProviderError
from waltzrl_tui.providers.protocol import Provider

# Fields with prose. A provider's names and ids must be returned to it unchanged.
_WORDS: Final = frozenset({"words", "text", "log", "provider_state", "events", "key"})


class Guard:
    """A wrapper that behaves as its provider, but masks keys in all that it returns."""

    def __init__(self, provider: Provider, keys: Keys) -> None:
        self._guarded = provider
        self._known = keys
        context = getattr(provider, "context", None)
        self._ask: Callable[[str], str] = getattr(context, "key", find_key)
        if context is not None:
            with suppress(AttributeError, TypeError):
                cast("Any", provider).context = replace(context, key=self._noted)
        self._opened_with = self._values()

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._guarded, name)
        if not callable(attribute):
            return attribute

        def call(*args: Any, **named: Any) -> Any:
            result = attribute(*args, **named)
            if inspect.isawaitable(result):
                return self._masked_answer(result)
            return self._all_masked(result) if name == "payload" else result

        return call

    def outdated(self) -> bool:
        """Whether the key has changed since it was opened: a client may keep the old one."""
        return self._values() != self._opened_with

    async def _masked_answer(self, answer: Awaitable[Any]) -> Any:
        try:
            return self._masked(await answer)
        except AuthError as error:
            if hint := await asyncio.to_thread(self._what_to_do):
                error.hint = hint
            self._clean(error)
            raise
        except ProviderError as error:
            self._clean(error)
            raise
        except WaltzError:
            raise  # our own error, from the callback of an upload's progress
        except Exception as error:
            # Another package's provider may raise anything, and its message would be logged.
            if not self._tells(error):
                raise
            raise ProviderError(f"{self._guarded.title} failed: {type(error).__name__}.") from None

    def _noted(self, variable: str) -> str:
        value = self._ask(variable)
        self._known.add(value)
        return value

    def _values(self) -> tuple[str, ...]:
        return tuple(self._noted(variable) for variable in self._guarded.capabilities.keys)

    def _what_to_do(self) -> str:
        """Which key was refused and how to set another; "" when none is set."""
        for variable in self._guarded.capabilities.keys:
            if value := self._noted(variable):
                if value == os.environ.get(variable, "").strip():
                    return (
                        f"The key is in the environment as {variable}: set a valid one there and "
                        "start again."
                    )
                return f"Set a valid {variable}: waltzrl-tui doctor --set-key {variable}"
        return ""

    def _clean(self, error: ProviderError) -> None:
        error.message = self._known.masked(error.message)
        error.words = self._known.masked(error.words)
        error.hint = self._known.masked(error.hint)
        error.args = (error.message,)
        cause = error.__cause__ or error.__context__
        if cause is not None and self._tells(cause):
            error.__cause__ = error.__context__ = None

    def _tells(self, error: BaseException) -> bool:
        """Whether its traceback would show a key."""
        at: BaseException | None = error
        while at is not None:
            if self._known.masked(text := f"{at} {at!r}") != text:
                return True
            at = at.__cause__ or at.__context__
        return False

    def _masked(self, value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return type(value)(self._masked(each) for each in value)
        if not is_dataclass(value) or isinstance(value, type):
            return value
        changed = {}
        for field in fields(value):
            if field.name in _WORDS:
                was = getattr(value, field.name)
                now = self._all_masked(was)
                if now != was:
                    changed[field.name] = now
        return replace(value, **changed) if changed else value

    def _all_masked(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._known.masked(value)
        if isinstance(value, Mapping):
            return {name: self._all_masked(each) for name, each in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(self._all_masked(each) for each in value)
        return self._masked(value)


def guarded(provider: Provider, keys: Keys) -> Provider:
    """The provider behind a `Guard`. Reads its keys, so call it off the event loop."""
    return cast("Provider", Guard(provider, keys))
