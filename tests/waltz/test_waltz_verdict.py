from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from waltzrl_tui.records.verdict import Verdict
from waltzrl_tui.waltz.verdict import VerdictError, parse_verdict, partial_fields

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)
_VERDICTS = st.builds(
    Verdict,
    reasoning=_TEXT,
    unsafe=st.booleans(),
    overrefuse=st.booleans(),
    feedback=_TEXT.filter(str.strip),
)


@given(
    _VERDICTS, st.sampled_from(["", "Here it is:\n", "```json\n"]), st.sampled_from(["", "\n```"])
)
def test_what_is_written_is_read_back(verdict: Verdict, before: str, after: str) -> None:
    assert parse_verdict(before + verdict.to_json() + after) == verdict


@given(_VERDICTS, st.data())
def test_fields_that_stream_in_only_grow_towards_the_verdict(
    verdict: Verdict, data: st.DataObject
) -> None:
    text = verdict.to_json()
    seen = partial_fields(text[: data.draw(st.integers(0, len(text)))])
    whole = verdict.model_dump()
    for name, value in seen.items():
        if isinstance(value, str):
            assert whole[name].startswith(value)
        else:
            assert whole[name] is value
    assert partial_fields(text) == whole


@given(st.text(max_size=200) | st.text(alphabet='{}[]",: truefalsn\\', max_size=200))
def test_any_text_is_a_verdict_or_a_reason(text: str) -> None:
    try:
        parse_verdict(text)
    except VerdictError as error:
        assert str(error)


@pytest.mark.parametrize(
    "text",
    [
        '{"reasoning": "x", "unsafe": True, "overrefuse": False, "feedback": "Refuse."}',
        '{"reasoning": "x", "unsafe": true, "overrefuse": false, "feedback": "Refuse.",}',
        '{"reasoning": "x", "unsafe": true, "overrefuse": false, "feedback": "Refuse."',
        '{"reasoning": "x", "unsafe": true, "overrefuse": false, "feedback": "Refuse.',
        '{"verdict": {"unsafe": true, "overrefuse": false, "feedback": "Refuse."}}',
        'Sure! ```json\n{"unsafe": true, "overrefuse": false, "feedback": "Refuse."}\n``` Done.',
        'As {asked}, {}: {"unsafe": true, "overrefuse": false, "feedback": "Refuse."} {"x": 1}',
        '{"a": {"verdict": {"unsafe": true, "overrefuse": false, "feedback": "Refuse."}}}',
    ],
)
def test_near_json_is_read(text: str) -> None:
    verdict = parse_verdict(text)
    assert (verdict.unsafe, verdict.overrefuse) == (True, False)
    assert verdict.feedback.startswith("Refuse")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"unsafe": "true"}, "unsafe"),
        ({"unsafe": 1}, "unsafe"),
        ({"overrefuse": None}, "overrefuse"),
        ({"feedback": ["Refuse."]}, "feedback"),
    ],
)
def test_wrong_types_are_no_verdict(change: dict[str, object], said: str) -> None:
    fields = {"reasoning": "x", "unsafe": True, "overrefuse": False, "feedback": "Refuse."}
    with pytest.raises(VerdictError, match=said):
        parse_verdict(json.dumps({**fields, **change}))


def test_a_flag_without_words_still_asks_for_a_revision() -> None:
    unsafe = parse_verdict('{"unsafe": true, "overrefuse": false, "feedback": ""}')
    timid = parse_verdict('{"unsafe": false, "overrefuse": true}')
    fine = parse_verdict('{"unsafe": false, "overrefuse": false}')
    assert unsafe.triggers
    assert timid.triggers
    assert unsafe.advice != timid.advice != ""
    assert fine.advice == ""


def test_deep_nesting_is_no_verdict() -> None:
    with pytest.raises(VerdictError):
        parse_verdict('{"a":' * 50_000)


def test_a_verdict_that_is_quoted_in_a_broken_one_is_not_taken_for_it() -> None:
    quoted = '{"unsafe": false, "overrefuse": false, "feedback": ""}'
    with pytest.raises(VerdictError):
        parse_verdict(f'{{"reasoning": "it says "{quoted}" itself", "unsafe": true, "over')


YES = '{"reasoning": "x", "unsafe": true, "overrefuse": false, "feedback": "Refuse."}'
NO = '{"reasoning": "y", "unsafe": false, "overrefuse": false, "feedback": ""}'


@pytest.mark.parametrize(
    "text",
    [
        f"<think>I must answer like {NO}. But it harms.</think>\n{YES}",
        f"First I thought {NO}, but it harms. Final answer: {YES}",
        f'{{"reasoning": "...", "unsafe": true or false, "overrefuse": …}}\n{YES}',
        f'{{"unsafe": "boolean", "overrefuse": "boolean"}}\n```\n{YES}\n```',
        f"{YES}\nAgain: {YES} That is all.",
        '{"verdict": ' + YES + ', "confidence": 0.9}',
        YES.replace('"Refuse."', "null"),
        YES.replace('"x"', '"it says </think> and {"'),
    ],
)
def test_the_real_verdict_wins(text: str) -> None:
    assert parse_verdict(text).unsafe


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (f"{YES} although the reply itself says {NO} of itself", "several verdicts that differ"),
        (f"<think>Perhaps {NO}, but then", "did not come to a verdict"),
        (NO + ' Final: {"unsafe": "yes", "overrefuse": false}', "field unsafe"),
    ],
)
def test_an_ambiguous_verdict_is_none(text: str, why: str) -> None:
    with pytest.raises(VerdictError, match=why):
        parse_verdict(text)
