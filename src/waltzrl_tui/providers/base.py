"""Bases for providers, so that each writes only what it has.

`Tuner` refuses all that a provider need not have; `SdkProvider` is one that is asked through
its vendor's SDK.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Final

from waltzrl_tui.providers.errors import AuthError, InvalidRequestError, UnavailableError
from waltzrl_tui.providers.protocol import (
    Capabilities,
    Deployment,
    PriceEstimate,
    ProviderContext,
    RemoteState,
    TuneRequest,
)
from waltzrl_tui.providers.sdk_errors import translating

_CHECKS: Final = 600
ENDED: Final = ("succeeded", "failed", "cancelled")
"""The states in which a provider's job has ended."""


class Tuner:
    """Answers no to all that a provider need not have.

    `name`, `title` and `capabilities` are class attributes.
    """

    name: str
    title: str
    capabilities: Capabilities

    def __init__(self, context: ProviderContext) -> None:
        self.context = context

    async def estimate(self, request: TuneRequest) -> PriceEstimate:
        return PriceEstimate(None, words=f"{self.title} has no estimate of its own")

    async def collect(self, result_model: str, folder: Path) -> Path:
        raise self._lacks("does not provide weights")

    async def deploy(self, result_model: str, base_model: str, tag: str) -> Deployment:
        raise self._lacks("needs no deployment")

    async def deployment(self, deployment_id: str) -> Deployment:
        raise self._lacks("needs no deployment")

    async def deployments(self) -> list[Deployment]:
        return []

    async def undeploy(self, deployment_id: str) -> None:
        raise self._lacks("needs no deployment")

    def chat_url(self) -> str:
        return ""

    async def close(self) -> None:
        """Nothing to close."""

    def key(self) -> str:
        """The value of the first key that is set.

        Raises:
            AuthError: None is; the hint names the variables.
        """
        for variable in self.capabilities.keys:
            if value := self.context.key(variable):
                return value
        names = " or ".join(self.capabilities.keys)
        raise AuthError(
            f"{self.title} needs a key.",
            hint=f"Set {names} in the environment, or keep it in the OS keyring: "
            f"waltzrl-tui doctor --set-key {self.capabilities.keys[0]}",
        )

    def _lacks(self, what: str) -> Exception:
        return InvalidRequestError(f"{self.title} {what}.")


class SdkProvider(Tuner, ABC):
    """A provider whose SDK's client is made when it is first used: without a key there is none.

    Attributes:
        check_seconds: Between two looks at a file that is being checked.
    """

    check_seconds: float = 1.0

    def __init__(self, context: ProviderContext) -> None:
        super().__init__(context)
        self._client: Any = None

    @abstractmethod
    def make_client(self) -> Any:
        """The SDK's client; it repeats no request by itself.

        Raises:
            AuthError: No key is set.
        """

    @abstractmethod
    async def state_of(self, job_id: str) -> RemoteState:
        """The state of a job."""

    @abstractmethod
    async def stop_job(self, job_id: str) -> None:
        """Ask the provider to stop a job that has not ended."""

    def api(self) -> Any:
        """The client, made once."""
        if self._client is None:
            self._client = self.make_client()
        return self._client

    def asking(self, *, effect: bool = False) -> AbstractAsyncContextManager[None]:
        """Raise what the SDK raises inside as one of our errors.

        Args:
            effect: The request may have changed something there, if its answer was lost.
        """
        return translating(self.title, effect=effect)

    async def cancel(self, job_id: str) -> None:
        if await self.state_of(job_id) not in ENDED:
            async with self.asking():
                await self.stop_job(job_id)

    async def until_checked(self, look: Callable[[], Awaitable[bool]]) -> None:
        """Wait until `look` says that the provider has checked a file.

        Raises:
            InvalidRequestError: The provider refused the file.
            UnavailableError: It takes longer than ten minutes or so.
        """
        for _ in range(_CHECKS):
            if await look():
                return
            await asyncio.sleep(self.check_seconds)
        raise UnavailableError(f"{self.title} did not finish checking the file.")

    def refused_file(self, words: str) -> InvalidRequestError:
        """The error of a training file that the provider does not take."""
        return InvalidRequestError(
            f"{self.title} refused the training file.",
            words=words,
            hint="Correct those rows, or leave them out, and launch again.",
        )

    async def close(self) -> None:
        if self._client is not None:
            client, self._client = self._client, None
            await client.close()
