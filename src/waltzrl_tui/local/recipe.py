"""How the embedded model is trained, as measured; see docs/recipe.md for the trials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from waltzrl_tui.errors import UsageError
from waltzrl_tui.local.model import LoraShape
from waltzrl_tui.records.roles import Role


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """Everything that decides a training run besides the rows and the base.

    Attributes:
        epochs: Passes over the rows; fractions stop within the last one.
        batch_rows: Rows of one optimizer step.
        micro_tokens: Padded tokens computed at a time; a cancel waits for one such piece.
        learning_rate: Peak; warmed up over the first 6 %, linear to 5 % over the last half.
        rank, alpha, last_layers: See `LoraShape`.
        decision_weight, decision_tokens: See `encode`.
        harmful_weight: Takes the place of `decision_weight` in rows with a harmful prompt.
        caution_weight, caution_declining, caution_margin: See `Caution`; a weight of 0 leaves
            that term out. The margin and the two weights say how cautious the agent becomes.
        opening_tokens: In `opening_share` of the rows only so many tokens at the start of the
            reply are learned, and what comes after is not computed: whether a request is declined
            is decided there. 0 learns all.
        max_tokens: Rows longer than this are left out, with an event that says how many.
        valid_rows: Validation rows used for the loss, at most.
        checkpoint_seconds: At least one checkpoint in so many seconds.
    """

    epochs: float = 2.0
    batch_rows: int = 8
    micro_tokens: int = 640
    learning_rate: float = 5e-4
    rank: int = 16
    alpha: int = 32
    last_layers: int = 10
    decision_weight: float = 3.0
    decision_tokens: int = 0
    harmful_weight: float = 3.0
    caution_weight: float = 0.0
    caution_declining: float = 0.0
    caution_margin: float = 0.0
    opening_tokens: int = 0
    opening_share: float = 0.75
    max_tokens: int = 512
    valid_rows: int = 24
    checkpoint_seconds: float = 20.0
    seed: int = 0

    @property
    def shape(self) -> LoraShape:
        return LoraShape(self.rank, self.alpha, self.last_layers)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> TrainingSettings:
        """The settings in `values`.

        Raises:
            UsageError: A setting has no such name; the message says which.
        """
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise UsageError(
                f"There is no training setting {unknown[0]!r}.",
                hint=f"The settings are {', '.join(sorted(known))}.",
            )
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Recipe:
    """A whole stage 1: how many rows, which rollouts, how each agent is trained.

    Attributes:
        rows: Rows sampled from the dataset (training and validation), None for all.
        rollout_tokens: Cap of one rollout, in tokens.
        judged: Replies of each prompt that the feedback agent learns to judge, 1 or 2.
        revisions: Share of the rows that also teach the conversation agent to revise.
        refusals_within: Words within which a refusal has to be announced to be learned (0: any).
        evaluation_prompts: Held-apart prompts used before and after, None for all.
        evaluation_tokens: Cap of a reply in that evaluation, in tokens.
    """

    rows: int | None
    rollout_tokens: int
    judged: int
    revisions: float
    refusals_within: int
    evaluation_prompts: int | None
    evaluation_tokens: int
    conversation: TrainingSettings
    feedback: TrainingSettings

    def settings(self, role: Role) -> TrainingSettings:
        return self.conversation if role == "conversation" else self.feedback


_CONVERSATION = TrainingSettings(
    epochs=3.0,
    learning_rate=5e-4,
    opening_tokens=20,
    decision_tokens=1,
    decision_weight=3.0,
    harmful_weight=1.0,
    caution_weight=3.0,
    caution_declining=0.5,
    caution_margin=4.0,
    opening_share=0.85,
)
_FEEDBACK = TrainingSettings(
    epochs=3.0,
    learning_rate=6e-4,
    decision_weight=4.0,
    harmful_weight=2.0,
    opening_tokens=28,  # the reasoning and the flags
    opening_share=0.65,
)
QUICK = Recipe(
    rows=380,
    rollout_tokens=28,
    judged=1,
    revisions=0.3,
    refusals_within=5,
    evaluation_prompts=48,
    evaluation_tokens=28,
    conversation=_CONVERSATION,
    feedback=_FEEDBACK,
)
"""Within 12 minutes on two cores, evaluations before and after included."""

FULL = Recipe(
    rows=None,
    rollout_tokens=48,
    judged=2,
    revisions=0.3,
    refusals_within=5,
    evaluation_prompts=None,
    evaluation_tokens=96,
    conversation=replace(_CONVERSATION, opening_share=0.5),
    feedback=replace(_FEEDBACK, opening_share=0.5),
)
"""All rows, for as long as it takes."""
