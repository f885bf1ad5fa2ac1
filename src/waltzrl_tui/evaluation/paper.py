"""The figures of the paper (arXiv 2510.08240, tables 1 and 2), in percent, for comparison.

Its agents are Llama-3.1-8B-Instruct and its judge is WildGuard: other models, prompts and judges
give other levels. Compare the shape.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from waltzrl_tui.evaluation.subjects import ALONE, BASE, ORACLE, SAFEGUARD, UNTRAINED, Subject


@dataclass(frozen=True, slots=True)
class PaperRow:
    """One method. ASR: WildJailbreak, FORTRESS, StrongREJECT and their mean; ORR: OR-Bench,
    FORTRESS and their mean."""

    method: str
    asr: tuple[float, float, float, float]
    orr: tuple[float, float, float]


ASR_SUITES: Final = ("WildJailbreak", "FORTRESS", "StrongREJECT", "mean")
ORR_SUITES: Final = ("OR-Bench", "FORTRESS", "mean")

PAPER: Final = (
    PaperRow(ALONE, (39.0, 40.4, 0.0, 26.5), (45.3, 6.0, 25.7)),
    PaperRow(SAFEGUARD, (16.0, 11.0, 0.0, 9.0), (48.7, 11.0, 29.8)),
    PaperRow("single-model RL", (13.2, 22.8, 0.6, 12.2), (11.9, 5.2, 8.6)),
    PaperRow(UNTRAINED, (19.4, 17.0, 3.8, 13.4), (18.3, 7.0, 12.7)),
    PaperRow(ORACLE, (10.6, 10.4, 0.0, 7.0), (28.2, 5.0, 16.6)),
    PaperRow("WaltzRL", (4.6, 6.2, 0.3, 3.7), (9.9, 5.4, 7.6)),
)


def paper_row(subject: Subject) -> PaperRow | None:
    """The paper's row for a subject; any trained pair compares with WaltzRL."""
    method = subject.name
    if subject.kind == "pair":
        if not subject.feedback:
            method = ALONE
        elif method in (BASE, UNTRAINED):
            method = UNTRAINED
        else:
            return PAPER[-1]
    return next((row for row in PAPER if row.method == method), None)
