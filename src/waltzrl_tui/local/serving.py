"""One llama.cpp server on loopback for all embedded agents: a base and an adapter for each."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
import tempfile
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, nullcontext, suppress
from pathlib import Path
from typing import Any

from waltzrl_tui.endpoints.base import BEGUN, Delta
from waltzrl_tui.endpoints.openai import OpenAIEndpoint
from waltzrl_tui.errors import EndpointError, EngineError
from waltzrl_tui.jobs.children import child_environment
from waltzrl_tui.local.adapter_batches import Waves
from waltzrl_tui.local.optional_deps import SERVING, require
from waltzrl_tui.records.messages import Message
from waltzrl_tui.text import one_line
from waltzrl_tui.workspace import Workspace

PARALLEL = 8
"""Streams of a chat server, decoded together."""

BULK = 16
"""Streams of a server for whole replies: on two cores they give 1.8 times the tokens of one, where
eight gave that in some runs and nothing in others."""

APART = 2
"""Streams of each of several chat servers beside each other: those of two columns."""

_SLOT_TOKENS = 3072
_BULK_TOKENS = 1536
_START_SECONDS = 60.0
_STREAM_SECONDS = 120.0
_WHOLE_SECONDS = 3600.0


class LlamaServer:
    """A child process that serves one base and some adapters on a loopback port of its choice.

    The port asks for a key that only this process knows.

    Args:
        streaming: For chats; otherwise more streams are decoded together.
        at_once: Servers that decode at the same time, among which the threads are shared.
    """

    def __init__(
        self, gguf: Path, adapters: Sequence[Path], *, streaming: bool = True, at_once: int = 1
    ) -> None:
        self.gguf = gguf
        self.at_once = at_once
        self._streaming = streaming
        self.adapters = tuple(adapters)
        self.port = 0
        self.streams = 0
        self.retired = False
        self._key = secrets.token_urlsafe(24)
        self._process: asyncio.subprocess.Process | None = None
        self._endpoints: dict[Path | None, OpenAIEndpoint] = {}

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def start(self, *, threads: int | None = None) -> None:
        """Start the child and wait until it listens (0.3 to 0.6 s on an idle machine).

        Raises:
            EngineError: It does not start; the message holds the engine's own words.
        """
        require(SERVING)
        parallel = BULK if not self._streaming else PARALLEL if self.at_once == 1 else APART
        settings = {
            "gguf": str(self.gguf),
            "adapters": [str(path) for path in self.adapters],
            "key": self._key,
            "threads": threads or max(1, thread_count() // self.at_once),
            "parallel": parallel,
            # Memory for all of it is taken at once: 23 KB a token of the default base.
            "context": parallel * (_SLOT_TOKENS if self._streaming else _BULK_TOKENS),
        }
        environment = await asyncio.to_thread(_environment)
        with tempfile.TemporaryFile() as complaints:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # Files in the current folder must not be taken for Python's modules.
                "-m",
                "waltzrl_tui.local.llama_child",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=complaints,
                env=environment,
                start_new_session=True,
            )
            assert self._process.stdin and self._process.stdout
            self._process.stdin.write(json.dumps(settings).encode() + b"\n")
            answer: dict[str, Any] = {}
            try:
                async with asyncio.timeout(_START_SECONDS):
                    answer = json.loads(await self._process.stdout.readline())
                self.port = answer["port"]
            except (TimeoutError, ValueError, KeyError) as error:
                await self.close()
                complaints.seek(0)
                complaint = answer.get("error") or complaints.read()[-300:].decode(
                    "utf-8", "replace"
                )
                raise EngineError(
                    f"llama.cpp's server did not start on {self.gguf.name}: "
                    f"{one_line(complaint.strip().rpartition(chr(10))[2]) or 'it gave no reason'}.",
                    hint="Check memory, weights and adapters with `waltzrl-tui doctor`.",
                ) from error

    def endpoint(self, adapter: Path | None) -> OpenAIEndpoint:
        """The base with `adapter` applied, or alone."""
        if adapter not in self._endpoints:
            scales = [
                {"id": number, "scale": 1.0 if path == adapter else 0.0}
                for number, path in enumerate(self.adapters)
            ]
            self._endpoints[adapter] = OpenAIEndpoint(
                f"http://127.0.0.1:{self.port}/v1",
                self._key,
                self.gguf.stem,
                extra_body={"lora": scales} if scales else {},
                name="the embedded engine",
                # A whole reply comes after its turn in the queue; a dead child is noticed anyway.
                timeout=_STREAM_SECONDS if self._streaming else _WHOLE_SECONDS,
                streaming=self._streaming,
            )
        return self._endpoints[adapter]

    async def close(self) -> None:
        """Stop the child and wait until it is gone."""
        for endpoint in self._endpoints.values():
            await endpoint.close()
        self._endpoints.clear()
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            assert process.stdin
            process.stdin.close()
            try:
                async with asyncio.timeout(1.0):
                    await process.wait()
            except TimeoutError:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        # Without this the transport is only closed by the garbage collector, after the loop.
        process._transport.close()  # type: ignore[attr-defined]


class Servers:
    """Starts servers on demand: one a base, restarted when an agent needs one more adapter.

    A server decodes streams of one adapter at a time, and those of another wait for their end. So
    while streams of several are to run at once, each adapter has a server of its own, with its
    share of the threads: two servers that want the same cores are fifty times slower than one.

    Args:
        streaming: False for work that nobody watches token by token: see `OpenAIEndpoint`.
    """

    def __init__(self, *, streaming: bool = True) -> None:
        self._streaming = streaming
        self._at_once = 1
        self._current: dict[tuple[Path, Path | None], LlamaServer] = {}
        self._retired: list[LlamaServer] = []
        self._lock = asyncio.Lock()

    def share(self, at_once: int) -> None:
        """How many streams of different adapters are to run at once; servers follow when they are
        next requested, and running streams end on the old one."""
        self._at_once = at_once

    async def serving(
        self, gguf: Path, adapter: Path | None, also: Sequence[Path] = ()
    ) -> LlamaServer:
        """A live server that has this adapter.

        Args:
            also: Other adapters that will be requested.

        Raises:
            EngineError: It cannot be started.
        """
        async with self._lock:
            at_once = self._at_once
            for key, other in list(self._current.items()):
                if other.at_once != at_once:
                    await self._retire(self._current.pop(key))
            key = (gguf, adapter if at_once > 1 else None)
            adapters = [adapter] if adapter else []
            if at_once == 1:
                adapters += also
            server = self._current.get(key)
            if server is not None and server.alive and set(adapters) <= set(server.adapters):
                return server
            known = [path for path in server.adapters if path.exists()] if server else []
            adapters = list(dict.fromkeys([*known, *adapters]))
            fresh = LlamaServer(gguf, adapters, streaming=self._streaming, at_once=at_once)
            await fresh.start()
            self._current[key] = fresh
            if server is not None:
                await self._retire(server)
            return fresh

    async def _retire(self, server: LlamaServer) -> None:
        server.retired = True
        if server.streams:
            self._retired.append(server)
        else:
            await server.close()

    async def stream_ended(self, server: LlamaServer) -> None:
        """Close a server that was replaced while it streamed, once nothing streams from it."""
        if server.retired and not server.streams and server in self._retired:
            self._retired.remove(server)
            await server.close()

    async def close(self) -> None:
        """Stop all servers."""
        servers = [*self._current.values(), *self._retired]
        self._current.clear()
        self._retired.clear()
        await asyncio.gather(*(server.close() for server in servers))


class EmbeddedEndpoint:
    """An embedded agent: the base with its adapter, on the server that has it now.

    With `waves`, many streams at once are faster and a single one may wait for others to end;
    it begins with `BEGUN` once it does not wait any more.
    """

    def __init__(
        self, servers: Servers, gguf: Path, adapter: Path | None, waves: Waves | None = None
    ) -> None:
        self._servers = servers
        self._waves = waves
        self.gguf = gguf
        self.adapter = adapter

    async def ready(self) -> None:
        """Load base and adapter now, so that the first reply needs no start.

        Raises:
            EngineError: The server cannot be started.
        """
        await self._servers.serving(self.gguf, self.adapter)

    async def stream(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        seed: int | None = None,
    ) -> AsyncGenerator[Delta, None]:
        # A server is chosen once the wave has come: one that lacks the adapter is replaced, and two
        # that decode at once on the same cores are ten times slower than one.
        wave = self._waves.of(self.adapter) if self._waves else nullcontext()
        stream = self._stream(messages, max_tokens, temperature, seed)
        async with wave, aclosing(stream) as deltas:
            if self._waves:
                yield BEGUN
            async for delta in deltas:
                yield delta

    async def _stream(
        self, messages: Sequence[Message], max_tokens: int, temperature: float, seed: int | None
    ) -> AsyncGenerator[Delta, None]:
        server = await self._servers.serving(self.gguf, self.adapter)
        server.streams += 1
        deltas = server.endpoint(self.adapter).stream(
            messages, max_tokens=max_tokens, temperature=temperature, seed=seed
        )
        try:
            async for delta in deltas:
                yield delta
        except EndpointError as error:
            if server.alive:
                raise
            raise EndpointError(
                "The embedded engine stopped in the middle of a reply.",
                hint="Send the prompt again; the engine restarts.",
            ) from error
        finally:
            await deltas.aclose()
            server.streams -= 1
            await self._servers.stream_ended(server)


def thread_count() -> int:
    """Threads for sampling: the physical cores, at most 8 (a small model gains no more)."""
    import psutil

    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, min(psutil.cpu_count(logical=False) or 1, allowed or 1, 8))


def _environment() -> dict[str, str]:
    # Passive waiting, which training wants, costs llama.cpp a sleep and a wake-up at each of some
    # 500 barriers a token: 15 tokens/s instead of 80 on two cores.
    environment = child_environment(Workspace.current())
    environment.pop("OMP_WAIT_POLICY", None)
    return environment
