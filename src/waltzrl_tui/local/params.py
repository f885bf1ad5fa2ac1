"""The parameters of a job of the embedded engine, as its row stores them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any, Final, TypeVar

from waltzrl_tui.errors import EngineError
from waltzrl_tui.local.recipe import TrainingSettings
from waltzrl_tui.records.intents import known_fields
from waltzrl_tui.records.roles import ROLES, Role
from waltzrl_tui.training_data.teacher import Teacher

VERSION: Final = 1
"""Version of the documents. Those without one are older and read the same way."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareParams:
    """How a preparation samples the base and renders the training files.

    Attributes:
        train_rows, valid_rows: Paths of the sample's rows.
        judged: Replies to judge in each prompt, 1 or 2.
        rollout_tokens: Cap of one rollout, in tokens.
        revisions, refusals_within: See `Recipe`.
        prompts: Version of the system prompt by role.
        roles: The agents to render files for.
        teacher: The author of the feedback; templates without one.
    """

    train_rows: str
    valid_rows: str
    judged: int
    rollout_tokens: int
    revisions: float
    prompts: Mapping[Role, str]
    refusals_within: int = 0
    roles: tuple[Role, ...] = ROLES
    teacher: Teacher | None = None

    def to_json(self) -> dict[str, Any]:
        return {"version": VERSION, **asdict(self)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> PrepareParams:
        """The parameters in a job's document.

        Raises:
            EngineError: A parameter is missing; the message names it.
        """
        values = known_fields(cls, document)
        if "teacher" in values:
            values["teacher"] = Teacher.from_json(values["teacher"])
        if "roles" in values:
            values["roles"] = tuple(values["roles"])
        return _build(cls, values)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairNames:
    """The names of a pair and of its two agents."""

    name: str
    conversation: str
    feedback: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainParams:
    """What one agent is trained on, and how.

    Attributes:
        train_file, valid_file: Paths of the files; `valid_file` is "" without validation rows.
        prompt: Version of the agent's system prompt.
        agent: Name of the trained agent.
        pair: The pair to add once both of its agents are trained.
    """

    train_file: str
    valid_file: str
    settings: TrainingSettings
    prompt: str
    agent: str
    pair: PairNames

    def to_json(self) -> dict[str, Any]:
        return {"version": VERSION, **asdict(self)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> TrainParams:
        """The parameters in a job's document.

        Raises:
            EngineError: A parameter is missing; the message names it.
            UsageError: There is no such training setting; the message names it.
        """
        values = known_fields(cls, document)
        if "settings" in values:
            values["settings"] = TrainingSettings.from_json(values["settings"])
        if "pair" in values:
            values["pair"] = _build(PairNames, known_fields(PairNames, values["pair"]))
        return _build(cls, values)


def _build(record: type[T], values: Mapping[str, Any]) -> T:
    for each in fields(record):  # type: ignore[arg-type]
        if each.name not in values and each.default is MISSING:
            raise EngineError(
                f"The job's parameters lack {each.name}.", hint="Launch a new training."
            )
    return record(**values)
