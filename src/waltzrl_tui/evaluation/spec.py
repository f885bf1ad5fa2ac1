"""What a run is asked for, as it is kept in the store."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from waltzrl_tui.evaluation.judges import DETECTOR
from waltzrl_tui.evaluation.subjects import Subject
from waltzrl_tui.evaluation.suites import Suite
from waltzrl_tui.tokenizers.estimate import VERDICT_TOKENS

REPLY_TOKENS = 256


class SuiteRef(BaseModel):
    """A suite, so that it can be read again: `n` prompts of `of`, those of the seed."""

    model_config = ConfigDict(frozen=True)

    name: str
    path: str
    sha256: str
    n: int
    asked: int | None = None
    seed: int = 0


class RunSpec(BaseModel):
    """Suites × subjects × judges.

    Attributes:
        judges: Names; the first one is the main one, by which figures are shown first.
        pins: What each agent is made of, by name, so that another one of the same name is not
            taken for it.
        at_once: Requests in flight at one server; by its kind when None.
        limits: The same for the servers of some agents.
        fresh: Whether kept answers of other runs count as not there; `salt` tells them apart.
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
        """The same for runs that are asked for the same; how many at once is no part of it."""
        identity = self.model_dump_json(exclude={"salt", "at_once", "limits"})
        return hashlib.sha256(identity.encode()).hexdigest()[:20]


def suite_refs(suites: Sequence[Suite], asked: int | None, seed: int) -> tuple[SuiteRef, ...]:
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
                asked=asked,
                seed=seed if asked else 0,
            )
        )
    return tuple(refs)
