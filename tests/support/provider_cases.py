"""The providers that the contract suite is run for: a new one is one entry here."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.support.acme import Acme
from tests.support.emulators.acme import AcmeEmulator
from tests.support.emulators.core import Request
from tests.support.emulators.fireworks import FireworksEmulator
from tests.support.emulators.mistral import MistralEmulator
from tests.support.emulators.openai import OpenAIEmulator
from tests.support.emulators.together import TogetherEmulator
from waltzrl_tui.providers.protocol import Provider, ProviderContext
from waltzrl_tui.records.providers import PROVIDERS


@dataclass(frozen=True)
class ProviderCase:
    """A provider and the emulator of its service.

    Attributes:
        emulator: Made with a speed; has `key`, `url`, `jobs` with a `word` each, and `fail`.
        create: What the path of its create call ends with; answered by POST.
        path: Of the API below the emulator's address.
        fast: Attributes of module or class (`module:attribute`) that are seconds of waiting.
        gone: Whether a job that was deleted there is missing.
    """

    name: str
    emulator: Callable[..., Any]
    create: tuple[str, ...]
    model: str = "Qwen/Qwen3-8B"
    path: str = ""
    fast: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    adapter: Callable[[ProviderContext], Provider] | None = None

    def open(self, context: ProviderContext) -> Provider:
        if self.adapter is not None:
            return self.adapter(context)
        module, _, name = PROVIDERS[self.name].adapter.partition(":")
        provider: Provider = getattr(importlib.import_module(module), name)(context)
        return provider

    def creates(self, request: Request) -> bool:
        """Whether a request is the one that makes, or starts, the job."""
        return request.method == "POST" and request.path.endswith(self.create)


CASES = (
    ProviderCase(
        "together",
        TogetherEmulator,
        ("/v1/fine-tunes",),
        fast=("waltzrl_tui.providers.base:SdkProvider.check_seconds",),
    ),
    ProviderCase(
        "openai",
        OpenAIEmulator,
        ("/v1/fine_tuning/jobs",),
        model="gpt-4o-mini-2024-07-18",
        path="/v1",
        fast=("waltzrl_tui.providers.base:SdkProvider.check_seconds",),
    ),
    ProviderCase(
        "fireworks",
        FireworksEmulator,
        ("/supervisedFineTuningJobs",),
        model="accounts/fireworks/models/qwen3-8b",
        fast=("waltzrl_tui.providers.fireworks.files:_CHECK_SECONDS",),
    ),
    ProviderCase(
        "mistral",
        MistralEmulator,
        ("/start",),
        model="open-mistral-7b",
        fast=("waltzrl_tui.providers.mistral.provider:_CHECK_SECONDS",),
    ),
    ProviderCase("acme", AcmeEmulator, ("/jobs",), model="acme-7b", adapter=Acme),
)
