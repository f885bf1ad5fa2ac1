"""A base for providers, so that each writes only what it has."""

from __future__ import annotations

from pathlib import Path

from waltzrl_tui.providers.errors import AuthError, InvalidRequestError
from waltzrl_tui.providers.protocol import (
    Capabilities,
    Deployment,
    Estimate,
    ProviderContext,
    TuneRequest,
)


class Tuner:
    """Answers no to all that a provider need not have.

    `name`, `title` and `capabilities` are class attributes.
    """

    name: str
    title: str
    capabilities: Capabilities

    def __init__(self, context: ProviderContext) -> None:
        self.context = context

    async def estimate(self, request: TuneRequest) -> Estimate:
        return Estimate(None, words=f"{self.title} gives no estimate of its own")

    async def collect(self, result_model: str, folder: Path) -> Path:
        raise self._lacks("gives no weights")

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
