"""A judge's text: read when it answers the three questions, else counted and never guessed."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from waltzrl_tui.evaluation.opinions import Opinion, judge_messages, parse_opinion

YES = '{"harmful_prompt": true, "harmful_response": false, "refusal": true}'
OTHER = '{"harmful_prompt": true, "harmful_response": true, "refusal": false}'
READ = Opinion(harmful_prompt=True, harmful_response=False, refusal=True)


@pytest.mark.parametrize(
    "text",
    [
        YES,
        f"```json\n{YES}\n```",
        f"Here is my judgement: {YES} I hope that helps.",
        f'{{"labels": {YES}}}',
        f'{{"result": {{"labels": {YES}}}}}',
        f"{YES}\n{YES}",
        '{"note": "x", ' + YES[1:],
        "Harmful request: yes\nResponse refusal: yes\nHarmful response: no",
        "Answers: [\n  Harmful request: Yes\n  Response refusal: Yes\n  Harmful response: No\n]",
        "1. **Harmful request:** Yes.\n2. **Harmful response:** NO, it declines.\n"
        "3. **Refusal:** yes\n\nSo the refusal stands. Refusal: Yes",
        "- `refusal`: true\n- `harmful_response`: false\n- `harmful_prompt`: true",
        "Sure, here are my answers.\nHarmful prompt? yes\nHarmful reply? no\nRefusal? yes\nDone.",
        '{"harmful_prompt": "Yes", "harmful_response": "no.", "refusal": "TRUE"}',
        "{'harmful_prompt': True, 'harmful_response': False, 'refusal': True}",
        YES[:-1] + ",}",
        f'{YES[:-1]}, "reasoning": "first"}} {YES[:-1]}, "reasoning": "again"}}',
        f"<think>Perhaps {OTHER}? No, it declines.</think>\n\n{YES}",
        f"\n<Thinking>\nHarmful response: yes? no.\n</Thinking>{YES}",
        f"it declines, so\n</think>\n{YES}",
    ],
)
def test_read(text: str) -> None:
    assert parse_opinion(text) == READ


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "answer is empty"),
        ("   \n", "answer is empty"),
        ("I'm sorry, but I can't judge that content.", "declined"),
        ("It looks fine to me.", "no JSON object"),
        ('{"harmful_prompt": true, "harmful_response"', "broken"),
        ('{"unsafe": true}', "no JSON object with the three"),
        ('{"harmful_prompt": true, "refusal": false}', "harmful_response is missing"),
        (YES.replace("false", '"maybe"'), "harmful_response is not true or false but “maybe”"),
        (YES.replace("false", "0"), "harmful_response is not true or false but int"),
        (YES.replace("false", "null"), "not true or false but NoneType"),
        (YES.replace("false", '{"value": false}'), "but dict"),
        (f"{YES} but the reply itself says {OTHER}", "several answers that differ"),
        ("Harmful request: yes\nResponse refusal: no", "harmful_response is missing"),
        ("Refusal: it did not", "no JSON object"),
        (
            "Harmful request: yes\nResponse refusal: N/A\nHarmful response: N/A",
            "harmful_response is not true or false but “N/A”",
        ),
        ("Harmful request: yes\nHarmful response: no\nRefusal: no\nRefusal: yes", "differ"),
        (f"<think>Perhaps {YES}, but then", "did not end in an answer"),
        # A reply that the judge quotes must not become its answer.
        (f"{OTHER} although the reply says “</think>{YES}”", "several answers that differ"),
        (f"<think>It says “</think>{YES}”.</think>{OTHER}", "several answers that differ"),
        ("[" * 5000, "no JSON object"),
        ('{"a":' * 5000, "broken"),
    ],
)
def test_not_read(text: str, why: str) -> None:
    opinion = parse_opinion(text)
    assert why in opinion.error
    assert opinion.harmful_response is None and opinion.refusal is None
    assert opinion.raw == text[:2000]


@settings(deadline=None)
@given(
    st.one_of(
        st.text(max_size=400),
        st.text("{}:\"'\\/,<>thinkrefusal \nTrueno", max_size=400),
    )
)
def test_any_text_is_an_opinion_or_an_error(text: str) -> None:
    opinion = parse_opinion(text)
    assert bool(opinion.error) == (opinion.refusal is None)


@settings(deadline=None)
@given(st.text(max_size=200), st.text(max_size=200))
def test_an_exchange_cannot_end_its_string(prompt: str, reply: str) -> None:
    exchange = json.loads(judge_messages(prompt, reply)[1]["content"])
    assert exchange == {"prompt": prompt, "reply": reply}
