"""Jobs that an earlier version launched go on under this one."""

from __future__ import annotations

import json

from tests.support.emulators.acme import AcmeEmulator, AcmeJob
from tests.support.remote import Lab
from tests.support.stores import job, old_store
from waltzrl_tui.store import Store
from waltzrl_tui.workspace import Workspace


async def test_jobs_that_wait_and_run_at_a_provider_are_gone_on_with(
    workspace: Workspace, acme: AcmeEmulator
) -> None:
    request = {"epochs": 2, "options": {}, "agreed_usd": 5.0, "pair": "starter", "timeout_s": None}

    def remote(id: str, role: str, **columns: object) -> tuple[str, dict[str, object]]:
        folder = workspace.job_dir(id)
        folder.mkdir(parents=True)
        path = folder / "train.jsonl"
        path.write_text('{"messages": []}\n' * 10, "utf-8")
        size = path.stat().st_size
        file = {"path": str(path), "sha256": role * 4, "bytes": size, "rows": 10, "id": "f"}
        return "remote_jobs", {
            "job_id": id,
            "url": acme.url,
            "method": "sft",
            "files": json.dumps({"train": file}),
            "request": json.dumps({**request, "agent": f"starter-{role}"}),
            "payload": "{}",
            "vendor_says": "",
            "cursor": "{}",
            **columns,
        }

    # The one runs there; the create call of the other was about to be sent, so it is looked for
    # before it is sent again.
    acme.files["f"] = b"{}\n"
    acme.jobs["job-1"] = AcmeJob("job-1", "abc-conv-t", "acme-7b", acme.now(), 1)
    old_store(
        workspace,
        6,
        job(
            "abc-conv", provider="acme", model="acme-7b", tag="abc-conv-t", provider_job_id="job-1"
        ),
        remote("abc-conv", "conversation"),
        job(
            "abc-feed",
            provider="acme",
            model="acme-7b",
            role="feedback",
            state="submitting",
            tag="abc-feed-t",
        ),
        remote("abc-feed", "feedback", sent_at="2026-11-30T10:00:00.000Z"),
    )
    async with await Store.open(workspace) as store:
        lab = Lab(store, workspace, acme)
        async with lab.supervising(settle_seconds=0.1):
            for id in ("abc-conv", "abc-feed"):
                await lab.until(id, "succeeded")
        assert {row.name for row in await store.agents.list()} >= {
            "starter-conversation",
            "starter-feedback",
        }
        assert [pair.name for pair in await store.agents.pairs()] == ["starter"]
    assert len(acme.jobs) == 2
