"""Which providers there are: ours, and those of other packages' entry points."""

from __future__ import annotations

import importlib
from importlib.metadata import entry_points
from shlex import quote
from typing import Final, cast

from waltzrl_tui.approvals import is_approved, origin_of
from waltzrl_tui.errors import NotFoundError
from waltzrl_tui.keys import find_key
from waltzrl_tui.providers.errors import AuthError, ProviderError
from waltzrl_tui.providers.protocol import Factory, Provider, ProviderContext
from waltzrl_tui.records.providers import PROVIDERS
from waltzrl_tui.text import one_line
from waltzrl_tui.workspace import Workspace

GROUP: Final = "waltzrl_tui.providers"
"""The entry-point group: a name, and what makes the provider from a `ProviderContext`."""

_BUILT_IN: Final = {name: facts.adapter for name, facts in PROVIDERS.items() if facts.adapter}

# Nothing is imported until a provider is opened: each brings its own SDK.


def provider_names() -> list[str]:
    """The names of all providers whose jobs are elsewhere."""
    others = {point.name for point in entry_points(group=GROUP)}
    return [*_BUILT_IN, *sorted(others - _BUILT_IN.keys())]


def open_provider(name: str, workspace: Workspace, *, url: str = "") -> Provider:
    """The provider of that name. Imports its SDK, so call it off the event loop.

    Args:
        url: In place of the vendor's address.

    Raises:
        NotFoundError: There is none of that name.
        AuthError: The user has not approved that its keys go to `url`.
        ProviderError: It cannot be made: its client is not installed, or another package's
            provider fails.
    """
    if url and not is_approved(name, url):
        # It may come from a store that somebody else has made.
        where = origin_of(url) or one_line(url, 80)
        raise AuthError(
            f"The keys of {one_line(name, 40)} do not go to {where}: you have not approved that on "
            "this machine.",
            hint="If you trust that server: waltzrl-tui agents approve "
            f"--provider {quote(one_line(name, 40))} --at {quote(one_line(url, 120))}",
        )
    context = ProviderContext(find_key, url, workspace.cache / "providers" / name)
    return _factory(name)(context)


def _factory(name: str) -> Factory:
    if place := _BUILT_IN.get(name):
        module, _, attribute = place.partition(":")
        return cast("Factory", getattr(importlib.import_module(module), attribute))
    for point in entry_points(group=GROUP, name=name):
        try:
            return cast("Factory", point.load())
        except Exception as error:
            # Code of another package may raise anything.
            raise ProviderError(
                f"The provider {name} of {point.value} cannot be loaded: "
                f"{type(error).__name__}: {error}",
                hint="Fix or remove the package that provides it.",
            ) from error
    raise NotFoundError(
        f"There is no provider {name!r}.", hint=f"There are {', '.join(provider_names())}."
    )
