"""One waltz reads the same in an exported chat and in the report of an evaluation."""

from __future__ import annotations

import json
import re
from html import unescape
from pathlib import Path

from tests.support.evaluation import Lab
from tests.support.servers.scripted import Answer
from waltzrl_tui.chat.export import to_markdown
from waltzrl_tui.chat.transcript import RoundState, Turn
from waltzrl_tui.endpoints.base import Origin
from waltzrl_tui.evaluation.export import write_report
from waltzrl_tui.evaluation.markup import element
from waltzrl_tui.evaluation.subjects import Subject
from waltzrl_tui.store.rows import TranscriptRow

FEEDBACK = "Leave <b>that</b> out."


def script(model: str, messages: list[dict[str, str]]) -> Answer:
    if model == "talk":
        return "" if len(messages) > 2 else "Sure, *here* it is."
    verdict = {"reasoning": "harm", "unsafe": False, "overrefuse": True, "feedback": FEEDBACK}
    return json.dumps(verdict)


async def test_report_and_chat_export_have_the_same_parts(lab: Lab, tmp_path: Path) -> None:
    lab.write_suite([("prompt", "harmful", "cat")])
    lab.server.script = script
    await lab.agent("talk")
    await lab.agent("guard", "feedback")
    subject = Subject(name="pair", conversation="talk", feedback="guard", rounds=1)
    _, results = await lab.carry(await lab.run([subject]))
    write_report(tmp_path / "report.html", results)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    item = unescape(page[page.index("<p>prompt</p>") :])
    assert "<b>that</b>" not in page

    (played,) = results.items.values()
    turn = Turn("prompt", "pair", ended=True)
    for state in played.rounds:
        turn.rounds.append(
            RoundState(
                reply=state.reply,
                reply_ended=True,
                origin=Origin(finish=state.finish),
                judged=state.verdict is not None,
                verdict=state.verdict,
            )
        )
    row = TranscriptRow(
        id=1, title="chat", pair="pair", created_at="now", updated_at="now", turns=1
    )
    chat = to_markdown(row, [turn])
    titles = re.findall(r"<p[^>]*>([^<]*)</p>", item)
    judged = ["verdict: overrefuses", "reasoning", "feedback"]
    parts = ["draft", *judged, "revision 1", "an empty reply", *judged, "final reply"]
    assert titles[1 : 1 + len(parts)] == parts
    assert re.findall(r"^(?:### |\*)(?:pair: )?(.+?)\*?$", chat, re.MULTILINE) == parts
    for text in ("Sure, *here* it is.", FEEDBACK, "(empty)"):
        assert f"<pre>{text}</pre>" in item and f"~~~\n{text}\n~~~" in chat


def test_an_element_escapes_all_that_is_not_an_element() -> None:
    inner = element("b", "<i>&\x1b")
    assert inner.startswith("<b>&lt;i&gt;&amp;") and "\x1b" not in inner
    assert element("p", inner, "<u>", style="bad") == f"<p class='bad'>{inner}&lt;u&gt;</p>"
