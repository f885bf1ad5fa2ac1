"""The greedy choice between declining and answering, as it is learned."""

from __future__ import annotations

import pytest

from waltzrl_tui.local.encoding import Encoded
from waltzrl_tui.local.refusal_margin import Caution, openings_of_refusals


def _row(first: int, declines: bool | None) -> Encoded:
    return Encoded([0, first, 1], 1, [1.0, 1.0], declines)


def test_openings_are_the_tokens_that_begin_refusals_and_hardly_ever_answers() -> None:
    rows = [
        *[_row(5, True)] * 9,  # "I", which begins a few answers too
        *[_row(5, False)] * 3,
        *[_row(6, True)] * 2,
        *[_row(7, True)],  # once proves nothing
        *[_row(8, True)] * 2,
        *[_row(8, False)],
        *[_row(9, None)] * 9,
    ]
    assert openings_of_refusals(rows) == (5, 6)


def test_an_answer_must_lead_by_the_margin_and_a_refusal_need_only_lead() -> None:
    torch = pytest.importorskip("torch")
    caution = Caution((0,), weight=2.0, declining_weight=1.0, margin=3.0)

    def loss(lead: float, declines: bool | None) -> float:
        return float(caution.loss(torch.tensor([[lead, 0.0, -1.0]]), [declines]))

    assert loss(2.0, False) > loss(0.0, False) > loss(-3.0, False) > loss(-9.0, False)
    assert loss(-2.0, True) > loss(0.0, True) > loss(2.0, True)
    # At the margin an answer costs what a refusal costs that is just even, times their weights.
    assert loss(-3.0, False) == pytest.approx(2 * loss(0.0, True))
    assert loss(5.0, None) == 0.0
