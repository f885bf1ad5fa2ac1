"""A streamed reply in the Chat screen next to a bare SDK client reading the same stream.

CPU milliseconds a token (and a column), the share of a core that is, and milliseconds to the first
token. The server is a process of its own. The screen is run three times: headless, on a terminal (a
pty of 120 x 40) that it really writes to, and on a terminal with two pairs side by side.

Run: python benchmarks/bench_stream.py [TOKENS]
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Iterator
from fcntl import ioctl
from pathlib import Path
from typing import Any

RATES = (40, 200)
RUNS = 3
SIZE = (120, 40)
WORDS = [
    "the",
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "a",
    "lazy",
    "dog",
    "and",
    "runs",
    "on",
    "through",
    "the",
    "wide",
    "green",
    "field",
]
MUST = "<= 2.5 ms CPU a token and column, first token within 10 ms of the bare SDK"


async def _serve() -> None:
    """Answer the prompt "RATE/TOKENS" with so many tokens at so many a second."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                length = int(head.split("content-length:")[1].split("\r\n")[0])
                body = json.loads(await reader.readexactly(length))
                rate, tokens = map(int, body["messages"][-1]["content"].split("/"))
                writer.write(
                    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
                    b"transfer-encoding: chunked\r\n\r\n"
                )
                began = time.perf_counter()
                for number in range(tokens):
                    word = ("" if number == 0 else " ") + WORDS[number % len(WORDS)]
                    _send(writer, {"choices": [{"index": 0, "delta": {"content": word}}]})
                    await writer.drain()
                    await asyncio.sleep(max(0, began + (number + 1) / rate - time.perf_counter()))
                _send(
                    writer,
                    {
                        "choices": [],
                        "usage": {
                            "prompt_tokens": 1,
                            "completion_tokens": tokens,
                            "total_tokens": tokens + 1,
                        },
                    },
                )
                writer.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def _send(writer: asyncio.StreamWriter, fields: dict[str, Any]) -> None:
    event = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", **fields}
    data = f"data: {json.dumps(event)}\n\n".encode()
    writer.write(b"%x\r\n%s\r\n" % (len(data), data))


async def _bare(url: str, rate: int, tokens: int) -> dict[str, float]:
    from openai import AsyncOpenAI

    async def ask(count: int) -> dict[str, float]:
        began, cpu, first, text = time.perf_counter(), time.process_time(), 0.0, ""
        stream: Any = await client.chat.completions.create(
            model="model",
            messages=[{"role": "user", "content": f"{rate}/{count}"}],
            stream=True,
            stream_options={"include_usage": True},
        )
        async for chunk in stream:
            if chunk.choices and chunk.choices[0].delta.content:
                first = first or time.perf_counter() - began
                text += chunk.choices[0].delta.content
        used, took = time.process_time() - cpu, time.perf_counter() - began
        return {"cpu_ms": used * 1000 / count, "first_ms": first * 1000, "share": used / took}

    async with AsyncOpenAI(base_url=url, api_key="none") as client:
        await ask(20)
        return await ask(tokens)


async def _screen(url: str, rate: int, tokens: int, what: str) -> dict[str, float]:
    from waltzrl_tui.store import Store
    from waltzrl_tui.tui.chat import column as chat_column
    from waltzrl_tui.tui.chat.screen import ChatScreen
    from waltzrl_tui.tui.chat.view import ConversationView
    from waltzrl_tui.tui.shell.app import WaltzApp
    from waltzrl_tui.workspace import Workspace

    shown: list[float] = []

    columns = 2 if what == "beside" else 1

    class Noting(ConversationView):
        def grow(self, turns: Any, elapsed: float | None, waiting_for: str = "") -> None:
            super().grow(turns, elapsed, waiting_for)
            if self._turns and self._turns[-1].rounds and self._turns[-1].rounds[0].reply:
                shown.append(time.perf_counter())

    chat_column.ConversationView = Noting  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace.find(folder)
        async with await Store.open(workspace) as store:
            await store.agents.add(
                "talk",
                role="conversation",
                kind="openai",
                base="model",
                prompt="conversation/brief-1",
                url=url,
            )
            for name in ("pair", "other"):
                await store.agents.add_pair(name, conversation="talk")
        app = WaltzApp(workspace, screen="chat")
        found: dict[str, float] = {}

        async def ask(count: int) -> None:
            screen = app.screen
            assert isinstance(screen, ChatScreen)
            for column, name in zip(screen.columns, ("pair", "other"), strict=True):
                while not column.side.pairs.choose(name):
                    await asyncio.sleep(0.05)
            if columns == 2 and not screen.model.beside:
                screen.action_beside()
            screen.action_new()
            await asyncio.sleep(0.5)
            shown.clear()
            screen.field.text = f"{rate}/{count}"
            await asyncio.sleep(0.5)
            began, cpu = time.perf_counter(), time.process_time()
            screen.action_send()
            while screen.model.streaming:  # looked at seldom, because waking up costs, too
                await asyncio.sleep(0.25)
            used, took = time.process_time() - cpu, time.perf_counter() - began
            found["cpu_ms"] = used * 1000 / count / columns
            found["first_ms"] = (shown[0] - began) * 1000
            found["share"] = used / took

        async def drive() -> None:
            try:
                while not (isinstance(app.screen, ChatScreen) and app.screen.is_mounted):
                    await asyncio.sleep(0.05)
                await ask(20)
                await ask(tokens)
            finally:
                app.exit()

        driving: list[asyncio.Task[None]] = []
        app.call_later(lambda: driving.append(asyncio.create_task(drive())))
        headless = what == "headless"
        await app.run_async(headless=headless, size=SIZE if headless else None)
        await driving[0]
        return found


def _measured(what: str, url: str, rate: int, tokens: int) -> dict[str, float]:
    """`what` in a process of its own, on a pty where it is to write to a terminal."""
    with tempfile.NamedTemporaryFile("r") as answer:
        command = [sys.executable, __file__, what, url, str(rate), str(tokens), answer.name]
        if what in ("terminal", "beside"):
            parent, child = pty.openpty()
            ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", SIZE[1], SIZE[0], 0, 0))
            environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
            running = subprocess.Popen(
                command, stdin=child, stdout=child, stderr=child, env=environment
            )
            os.close(child)
            threading.Thread(target=_drain, args=(parent,), daemon=True).start()
            running.wait()
        else:
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return dict(json.load(answer))


def _drain(terminal: int) -> None:
    with contextlib.suppress(OSError):
        while os.read(terminal, 65536):
            pass


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


def main() -> None:
    what = sys.argv[1] if len(sys.argv) > 1 else ""
    if what == "serve":
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_serve())
    elif what in ("bare", "headless", "terminal", "beside"):
        url, rate, tokens = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
        bare = what == "bare"
        work = _bare(url, rate, tokens) if bare else _screen(url, rate, tokens, what)
        Path(sys.argv[5]).write_text(json.dumps(asyncio.run(work)))
    else:
        _compare(int(what or 240))


def _compare(tokens: int) -> None:
    print(f"{tokens} tokens, best of {RUNS}; must reach {MUST}")
    print(f"{'tok/s':>5}  {'':<9} {'CPU ms a token':>14} {'of a core':>9} {'first token ms':>14}")
    with _server() as url:
        for rate in RATES:
            for what in ("bare", "headless", "terminal", "beside"):
                runs = [_measured(what, url, rate, tokens) for _ in range(RUNS)]
                cpu, first, share = (
                    min(run[key] for run in runs) for key in ("cpu_ms", "first_ms", "share")
                )
                print(f"{rate:>5}  {what:<9} {cpu:>14.2f} {share:>9.1%} {first:>14.1f}", flush=True)


if __name__ == "__main__":
    main()
