"""Chats that can be searched, and duels with their votes."""

from __future__ import annotations

import pytest

from waltzrl_tui.errors import NotFoundError
from waltzrl_tui.store import Store
from waltzrl_tui.store.database import Database
from waltzrl_tui.store.migrate import shipped
from waltzrl_tui.workspace import Workspace


async def test_chats_of_an_older_store_can_be_searched(workspace: Workspace) -> None:
    workspace.prepare()
    older = [step for step in shipped() if step.number < 4]
    database = await Database.open(workspace.store_path, older)
    await database.write(
        lambda connection: connection.execute(
            "INSERT INTO transcripts VALUES (1, 't', 'p', '', '', 1)"
        )
    )
    await database.write(
        lambda connection: connection.execute(
            "INSERT INTO transcript_events VALUES (1, 1, '', 'prompt', ?)",
            ('{"text":"a needle"}',),
        )
    )
    await database.close()
    async with await Store.open(workspace) as store:
        (hit,) = await store.transcripts.search("needle")
        assert (hit.transcript.id, hit.turn, hit.text) == (1, 1, "a needle")
        await store.transcripts.append(1, ("reply", {"text": "another needle"}))
        found = await store.transcripts.search("another")
        assert [each.text for each in found] == ["another needle"]


async def test_a_duel_keeps_its_last_vote_and_outlives_its_chats(store: Store) -> None:
    duel = await store.duels.add("p", left="a", right="b", blind=True, harm="benign", line=3)
    chat = await store.transcripts.create("a")
    await store.duels.update(duel.id, left_transcript=chat.id, right_unsafe=False)
    await store.duels.vote(duel.id, "left", early=True)
    await store.duels.vote(duel.id, "both bad")
    (row,) = await store.duels.list()
    assert (row.vote, row.voted_early, row.blind) == ("both bad", False, True)
    assert (row.left_transcript, row.right_unsafe, row.left_unsafe) == (chat.id, False, None)
    await store.transcripts.remove(chat.id)
    assert [each.left_transcript for each in await store.duels.list()] == [None]
    with pytest.raises(NotFoundError):
        await store.duels.vote(99, "tie")
