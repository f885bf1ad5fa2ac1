from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from waltzrl_tui.chat.conversation import Feedback
from waltzrl_tui.chat.transcript import Turn, replay
from waltzrl_tui.tui.chat.diff import changed_words
from waltzrl_tui.tui.chat.lines import turn_lines
from waltzrl_tui.tui.chat.side import Look
from waltzrl_tui.tui.chat.wrap import breaks, cells, styled

_TEXT = st.text(st.sampled_from("ab漢👩é \n-"), max_size=80)


@given(_TEXT, st.integers(2, 30))
def test_wrapping_loses_nothing_but_space_and_fits(text: str, width: int) -> None:
    lines = breaks(text, width)
    assert all(cell_len(text[start:end]) <= width for start, end in lines)
    assert "".join("".join(text[a:b] for a, b in lines).split()) == "".join(text.split())
    assert all(end <= start for (_, end), (start, _) in zip(lines, lines[1:], strict=False))
    assert len(lines) >= text.count("\n") + 1


@given(st.lists(st.tuples(_TEXT, st.sampled_from(["one", "two"])), max_size=6))
def test_styles_stay_with_their_text(spans: list[tuple[str, str]]) -> None:
    want = [(char, style) for text, style in spans for char in text if not char.isspace()]
    got = [
        (char, style)
        for line in styled(spans, 11)
        for text, style in line
        for char in text
        if not char.isspace()
    ]
    assert got == want


@given(_TEXT, _TEXT)
def test_pieces_of_a_comparison_are_the_texts(draft: str, revision: str) -> None:
    left, right = changed_words(draft, revision, both="k", gone="g", new="n")
    assert "".join(text for text, _ in left) == draft
    assert "".join(text for text, _ in right) == revision
    kept = [
        [w for text, style in side if style == "k" for w in text.split()] for side in (left, right)
    ]
    assert kept[0] == kept[1]


@given(
    _TEXT,
    _TEXT,
    _TEXT,
    st.integers(24, 200),
    st.sampled_from(["applied", "shown", "off"]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.one_of(st.none(), st.floats(0, 1e6)),
)
def test_no_line_is_wider_than_the_view(
    prompt: str,
    draft: str,
    reason: str,
    width: int,
    mode: Feedback,
    whole: bool,
    drafts: bool,
    blind: bool,
    elapsed: float | None,
) -> None:
    verdict = {"reasoning": reason, "unsafe": True, "overrefuse": True, "feedback": draft + "x"}
    records = [
        ("prompt", {"text": prompt, "pair": "p"}),
        ("reply", {"round": 0, "text": draft, "seconds": 1.0, "tokens": 3}),
        ("verdict", {"round": 0, "verdict": verdict, "seconds": 0.1, "tokens": 30}),
        ("reply", {"round": 1, "text": reason, "seconds": 1.0, "tokens": 3}),
        ("verdict", {"round": 1, "verdict": None, "error": "broken", "seconds": 0.1}),
        ("end", {"seconds": 2.5}),
    ]
    for count in range(1, len(records) + 1):
        turn: Turn = replay(records[:count])[0]
        for line in turn_lines(turn, width, Look(mode, whole, drafts, blind), elapsed):
            assert cells(line) <= width
