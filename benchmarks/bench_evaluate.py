"""Evaluating against an endpoint of 50 ms: how busy it is kept, and CPU a call, beside peers.

The server runs in a process of its own, streams each reply whole after 50 ms, and notes how many
requests it has at a time. Busy is the time that its allowed requests were in flight, as a share of
what they could have been between the first and the last one. Each client runs in a process of its
own; its CPU is that of the work alone, without imports. The bare SDK stands behind a semaphore
and keeps nothing; ours keeps every answer and item in the store as it comes. The last row of ours
has an endpoint in the process that only sleeps: what is left is the runner's own.

Run: python benchmarks/bench_evaluate.py [PROMPTS] [--inspect PYTHON]

PYTHON is an interpreter that has inspect-ai and openai installed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import Any

AT_ONCE = 8
LATENCY = 0.05
REPLY = "Take the second door on the left, then ask at the desk. "
FINE = '{"reasoning": "fine", "unsafe": false, "overrefuse": false, "feedback": ""}'
MUST = "busy >= 90 %"


class _Server:
    def __init__(self) -> None:
        self.calls = 0
        self.in_flight = 0
        self.busy = 0.0
        self.most = 0
        self.first = self.last = self.changed = 0.0

    def note(self, by: int) -> None:
        now = time.perf_counter()
        if self.in_flight or by > 0:
            self.first = self.first or now
            self.busy += self.in_flight * (now - self.changed) if self.changed else 0.0
        self.in_flight += by
        self.most = max(self.most, self.in_flight)
        self.changed = self.last = now

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                if head.startswith("GET"):
                    _send(writer, "application/json", json.dumps(self.told()).encode())
                    continue
                length = int(head.lower().split("content-length:")[1].split("\r\n")[0])
                body = json.loads(await reader.readexactly(length))
                self.note(1)
                self.calls += 1
                await asyncio.sleep(LATENCY)
                _answer(writer, body)
                await writer.drain()
                self.note(-1)
        writer.close()

    def told(self) -> dict[str, float]:
        wall = self.last - self.first
        told = {
            "calls": self.calls,
            "most": self.most,
            "wall": wall,
            "busy": self.busy / (AT_ONCE * wall) if wall else 0.0,
        }
        self.__init__()  # type: ignore[misc]
        return told


def _answer(writer: asyncio.StreamWriter, body: dict[str, Any]) -> None:
    text = FINE if body["model"] == "judge" else REPLY
    usage = {"prompt_tokens": 20, "completion_tokens": 12, "total_tokens": 32}
    base = {"id": "1", "created": 1, "model": body["model"]}
    if not body.get("stream"):
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        document = {**base, "object": "chat.completion", "choices": [choice], "usage": usage}
        _send(writer, "application/json", json.dumps(document).encode())
        return
    kind = {**base, "object": "chat.completion.chunk"}
    events = [
        {**kind, "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]},
        {**kind, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        {**kind, "choices": [], "usage": usage},
    ]
    lines = [f"data: {json.dumps(event)}\n\n" for event in events]
    _send(writer, "text/event-stream", "".join([*lines, "data: [DONE]\n\n"]).encode())


def _send(writer: asyncio.StreamWriter, kind: str, body: bytes) -> None:
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)


async def _serve() -> None:
    server = await asyncio.start_server(_Server().connection, "127.0.0.1", 0, backlog=256)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def _bare(url: str, prompts: int) -> float:
    from openai import AsyncOpenAI

    async with AsyncOpenAI(base_url=url, api_key="none") as client:
        gate = asyncio.Semaphore(AT_ONCE)

        async def ask(number: int) -> None:
            async with gate:
                stream: Any = await client.chat.completions.create(
                    model="talk",
                    messages=[{"role": "user", "content": f"prompt {number}"}],
                    stream=True,
                    stream_options={"include_usage": True},
                )
                async for _ in stream:
                    pass

        await ask(-1)
        _told(url)
        cpu = time.process_time()
        await asyncio.gather(*(ask(number) for number in range(prompts)))
        return time.process_time() - cpu


class _Sleeping:
    """An endpoint in this process that costs nothing: what is left is the runner's own."""

    def __init__(self, server: _Server) -> None:
        self._server = server

    async def stream(self, messages: Any, **settings: Any) -> AsyncGenerator[Any, None]:
        from waltzrl_tui.endpoints.base import Delta

        self._server.note(1)
        self._server.calls += 1
        await asyncio.sleep(LATENCY)
        self._server.note(-1)
        yield Delta(REPLY, 12, 20)


class _Sleepers:
    def __init__(self) -> None:
        self.server = _Server()

    async def endpoint(self, store: Any, agent: Any) -> Any:
        return _Sleeping(self.server)

    async def close(self) -> None:
        pass


async def _ours(url: str, prompts: int, *, feedback: bool, sleep: bool = False) -> Any:
    from waltzrl_tui.evaluation.run import carry_out
    from waltzrl_tui.evaluation.service import begin, load_results, make_spec
    from waltzrl_tui.evaluation.subjects import Subject
    from waltzrl_tui.evaluation.suites import load_suite
    from waltzrl_tui.local.live import Engines
    from waltzrl_tui.store import Store
    from waltzrl_tui.workspace import Workspace

    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(Path(folder))
        workspace.prepare()
        suite = Path(folder) / "suite.jsonl"
        rows = [{"prompt": f"prompt {n}", "harm": "benign"} for n in range(prompts)]
        suite.write_text("".join(json.dumps(row) + "\n" for row in rows))
        engines: Any = _Sleepers() if sleep else Engines(workspace, bulk=True)
        async with await Store.open(workspace) as store:
            for name, role in (("talk", "conversation"), ("judge", "feedback")):
                await store.agents.add(
                    name,
                    role=role,  # type: ignore[arg-type]
                    kind="openai",
                    base=name,
                    url=url,
                    prompt=f"{role}/brief-1",
                )
            kind: dict[str, Any] = {"feedback": "judge"} if feedback else {"kind": "alone"}
            subject = Subject(name="pair", conversation="talk", **kind)
            spec = await make_spec(store, [load_suite(str(suite))], [subject], at_once=AT_ONCE)
            run = await begin(store, spec)
            talk = await engines.endpoint(store, await store.agents.get("talk"))
            asked = talk.stream([{"role": "user", "content": "warm"}], max_tokens=8)
            async for _ in asked:
                pass
            if sleep:
                engines.server = _Server()
            else:
                _told(url)
            cpu = time.process_time()
            await carry_out(store, run, engines)
            spent = time.process_time() - cpu
            assert len((await load_results(store, run)).items) == prompts
        await engines.close()
        return {"cpu": spent, **engines.server.told()} if sleep else spent


def _inspect(url: str, prompts: int) -> float:
    from inspect_ai import Task, eval
    from inspect_ai.dataset import MemoryDataset, Sample
    from inspect_ai.scorer import includes
    from inspect_ai.solver import generate

    os.environ |= {"BENCH_API_KEY": "none", "BENCH_BASE_URL": url, "INSPECT_DISPLAY": "none"}

    def task(count: int) -> Any:
        samples = [Sample(input=f"prompt {n}", target="door") for n in range(count)]
        return Task(dataset=MemoryDataset(samples), solver=generate(), scorer=includes())

    with tempfile.TemporaryDirectory() as folder:
        options = {"model": "openai-api/bench/talk", "log_dir": folder, "display": "none"}
        eval(task(2), max_connections=AT_ONCE, **options)
        _told(url)
        cpu = time.process_time()
        logs = eval(task(prompts), max_connections=AT_ONCE, max_samples=AT_ONCE + 4, **options)
        spent = time.process_time() - cpu
        assert logs[0].status == "success", logs[0].error
        return spent


def _told(url: str) -> dict[str, float]:
    with urllib.request.urlopen(url.removesuffix("/v1") + "/told") as answer:
        return dict(json.load(answer))


@contextlib.contextmanager
def _server() -> Iterator[str]:
    running = subprocess.Popen(
        [sys.executable, __file__, "serve"], stdout=subprocess.PIPE, text=True
    )
    assert running.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(running.stdout.readline())}/v1"
    finally:
        running.terminate()
        running.wait()


def _measured(python: str, what: str, prompts: int) -> dict[str, float]:
    with _server() as url, tempfile.NamedTemporaryFile("r") as answer:
        command = [python, __file__, what, url, str(prompts), answer.name]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        told = _told(url)
        found = json.load(answer)
        return found if isinstance(found, dict) else {**told, "cpu": found}


def _compare(prompts: int, inspect: str) -> None:
    print(f"{prompts} prompts, {AT_ONCE} requests allowed, {LATENCY * 1000:.0f} ms; must: {MUST}")
    print(f"{'':<26} {'calls':>6} {'most':>5} {'busy':>7} {'CPU ms a call':>14} {'wall s':>7}")
    clients = [("bare", "bare SDK"), ("alone", "ours, one agent")]
    clients += [("pair", "ours, both agents"), ("runner", "ours, no client at all")]
    if inspect:
        clients.append(("inspect", "Inspect, generate + score"))
    for what, name in clients:
        python = inspect if what == "inspect" else sys.executable
        found = _measured(python, what, prompts)
        print(
            f"{name:<26} {found['calls']:>6.0f} {found['most']:>5.0f} {100 * found['busy']:>6.1f}%"
            f" {1000 * found['cpu'] / found['calls']:>14.2f} {found['wall']:>7.1f}",
            flush=True,
        )


def main() -> None:
    what = sys.argv[1] if len(sys.argv) > 1 else ""
    if what == "serve":
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_serve())
    elif what in ("bare", "alone", "pair", "runner", "inspect"):
        url, prompts = sys.argv[2], int(sys.argv[3])
        if what == "bare":
            spent = asyncio.run(_bare(url, prompts))
        elif what == "inspect":
            spent = _inspect(url, prompts)
        else:
            sleep = what == "runner"
            spent = asyncio.run(_ours(url, prompts, feedback=what == "pair", sleep=sleep))
        Path(sys.argv[4]).write_text(json.dumps(spent))
    else:
        parser = argparse.ArgumentParser()
        parser.add_argument("prompts", type=int, nargs="?", default=400)
        parser.add_argument("--inspect", default="", metavar="PYTHON")
        args = parser.parse_args()
        _compare(args.prompts, args.inspect)


if __name__ == "__main__":
    main()
