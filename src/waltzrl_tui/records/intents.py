"""What was agreed to for a job at a provider, as the store keeps it until it is sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final

VERSION: Final = 1
"""Of the documents. Those without a version are of the time before and read alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchIntent:
    """What one job at a provider is to be asked for.

    Attributes:
        epochs: Passes over the rows; 0 where it is not known (an adopted job).
        options: Further settings by name that the provider knows.
        machine: The rented machine, by the provider's own name; "" where none is rented.
        seconds: How long it is expected to work.
        timeout_s: When it is stopped, in seconds; until then it can cost.
        agreed_usd: What the user agreed to pay at most; None where no price was known.
        agent: The name of the agent that comes of it.
        pair: The name of the pair; "" where one agent is trained alone.
        prompt: Version of the agent's system prompt.
        from_model: A result to go on from; "" for the base.
    """

    epochs: float = 1.0
    options: Mapping[str, Any] = field(default_factory=dict)
    machine: str = ""
    seconds: float | None = None
    timeout_s: float | None = None
    agreed_usd: float | None = None
    agent: str = ""
    pair: str = ""
    prompt: str = ""
    from_model: str = ""

    def to_json(self) -> dict[str, Any]:
        return {"version": VERSION, **asdict(self)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> LaunchIntent:
        """The intent of a document; what it does not name, or names as null, is the default."""
        return cls(**known_fields(cls, document))


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentFile:
    """A training or validation file that goes with a job.

    Attributes:
        tokens: Of one epoch; None where they were not counted.
        id: The provider's own, once it was uploaded.
    """

    path: str
    sha256: str
    bytes: int
    rows: int
    tokens: int | None = None
    id: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> IntentFile:
        return cls(**known_fields(cls, document))


def known_fields(record: type, document: Mapping[str, Any]) -> dict[str, Any]:
    """The values in a document that are fields of `record` and not null."""
    names = {each.name for each in fields(record)}
    return {name: value for name, value in document.items() if name in names and value is not None}
