"""The spec of a run, as stored."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from waltzrl_tui.evaluation.judges import DETECTOR
from waltzrl_tui.evaluation.subjects import Subject
from waltzrl_tui.evaluation.suites import Suite
from waltzrl_tui.tokenizers.estimate import VERDICT_TOKENS

REPLY_TOKENS = 256


class SuiteRef(BaseModel):
    """A suite that can be read again.

    Attributes:
        n: Its prompts.
        sample_size: Prompts to draw from the file with `seed`; None: all. It is stored as `asked`,
            the name in the specs, and in the keys, of earlier runs.
    """

    model_config = ConfigDict(frozen=True, serialize_by_alias=True)

    name: str
    path: str
    sha256: str
    n: int
    sample_size: int | None = Field(
        default=None,
        validation_alias=AliasChoices("asked", "sample_size"),
        serialization_alias="asked",
    )
    seed: int = 0


class RunSpec(BaseModel):
    """Suites × subjects × judges.

    Attributes:
        judges: Names; the first is the main one, whose figures come first.
        pins: A hash of what each agent consists of, by name, so that a changed agent is noticed.
        at_once: Requests in flight at one server; None: the default of its kind.
        limits: The same for the servers of some agents.
        fresh: Whether cached answers of other runs are ignored; `salt` is part of the cache keys.
    """

    model_config = ConfigDict(frozen=True)

    suites: tuple[SuiteRef, ...]
    subjects: tuple[Subject, ...]
    judges: tuple[str, ...] = (DETECTOR,)
    pins: dict[str, str] = {}
    max_tokens: int = REPLY_TOKENS
    verdict_tokens: int = VERDICT_TOKENS
    at_once: int | None = None
    limits: dict[str, int] = {}
    fresh: bool = False
    salt: str = ""

    @property
    def total(self) -> int:
        return len(self.subjects) * sum(suite.n for suite in self.suites)

    @property
    def agents(self) -> tuple[str, ...]:
        """All agents that are asked, judges among them."""
        named = [name for subject in self.subjects for name in subject.agents]
        judges = [name for name in self.judges if name != DETECTOR]
        return tuple(dict.fromkeys([*named, *judges]))

    def key(self) -> str:
        """A hash of what is evaluated; how many requests are in flight is not part of it."""
        identity = self.model_dump_json(exclude={"salt", "at_once", "limits"})
        return hashlib.sha256(identity.encode()).hexdigest()[:20]


def suite_refs(suites: Sequence[Suite], sample_size: int | None, seed: int) -> tuple[SuiteRef, ...]:
    """The suites as a spec names them; two of the same name are numbered."""
    refs: list[SuiteRef] = []
    for suite in suites:
        taken = {ref.name for ref in refs}
        name = next(
            each
            for each in (suite.name, *(f"{suite.name}-{n}" for n in range(2, len(suites) + 2)))
            if each not in taken
        )
        refs.append(
            SuiteRef(
                name=name,
                path=str(suite.path),
                sha256=suite.sha256,
                n=len(suite.rows),
                sample_size=sample_size,
                seed=seed if sample_size else 0,
            )
        )
    return tuple(refs)
