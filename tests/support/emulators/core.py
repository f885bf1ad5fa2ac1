"""What all emulators share: a real HTTP server on loopback, faults on request, and a fast clock."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Protocol, Self
from urllib.parse import parse_qs, urlsplit


@dataclass
class Request:
    """One request as it came. `json` is its body where that is JSON, else None."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        try:
            return json.loads(self.body) if self.body else None
        except ValueError:
            return None


@dataclass
class Answer:
    """What goes back: a document (as JSON), or raw bytes; `drip` seconds between its pieces."""

    status: int = 200
    document: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    drip: float = 0.0


@dataclass
class Fault:
    """One thing that goes wrong, for the next `times` requests that match.

    Attributes:
        where: Of a request: whether it is hit.
        answer: Sent instead, the request without effect.
        after: The request has its effect, and then `answer` (or the broken connection) comes.
        drop: The connection is reset without an answer; `read` bytes of the body are read first.
        stall: Seconds of silence before going on.
        mangle: Changes a good answer's bytes (wrong JSON).
        drip: Seconds between pieces of a good answer.
    """

    where: Callable[[Request], bool]
    answer: Answer | None = None
    after: bool = False
    drop: bool = False
    read: int | None = None
    stall: float = 0.0
    mangle: Callable[[bytes], bytes] | None = None
    drip: float = 0.0
    times: int = 1


class Contract(Protocol):
    """An OpenAPI document that exchanges are held against: see `spec.py`."""

    def violations(self, request: Request, answer: Answer) -> list[str]: ...


def on(method: str, part: str) -> Callable[[Request], bool]:
    """Requests of that method whose path has `part` in it."""
    return lambda request: request.method == method and part in request.path


class Emulator:
    """`with SomeEmulator(speed=60) as there:` — a provider's wire at `there.url`.

    A subclass answers requests in `respond`, under a lock, so that its state needs no other.

    Attributes:
        speed: How many seconds of a job's life pass in one of ours.
        skew: Seconds by which the provider's clock is ahead of ours.
        requests: All that came, in order. `keys`: every credential that was sent.
        spec: When set, holds every good exchange against the vendor's own OpenAPI document;
            what does not fit is added to `violations`.
    """

    def __init__(self, *, speed: float = 60.0, skew: float = 0.0) -> None:
        self.speed = speed
        self.skew = skew
        self.requests: list[Request] = []
        self.keys: set[str] = set()
        self.faults: list[Fault] = []
        self.spec: Contract | None = None
        self.violations: list[str] = []
        self.lock = threading.RLock()
        self._began = time.monotonic()
        self._epoch = time.time()
        emulator = self

        class Handler(_Handler):
            there = emulator

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def now(self) -> float:
        """The provider's time, in seconds of the Unix epoch: faster than ours by `speed`."""
        return self._epoch + self.skew + (time.monotonic() - self._began) * self.speed

    def fail(self, fault: Fault) -> Fault:
        """Let something go wrong."""
        with self.lock:
            self.faults.append(fault)
        return fault

    def count(self, method: str, part: str) -> int:
        """How many requests of that method came whose path has `part` in it."""
        with self.lock:
            return sum(on(method, part)(request) for request in self.requests)

    def respond(self, request: Request) -> Answer:
        raise AssertionError("a subclass answers")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def _fault(self, request: Request) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.times > 0 and fault.where(request):
                    fault.times -= 1
                    return fault
        return None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that was killed in the middle of a request is what the tests are about


class _Handler(BaseHTTPRequestHandler):
    there: Emulator
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _handle(self) -> None:
        parts = urlsplit(self.path)
        request = Request(
            self.command,
            parts.path,
            parse_qs(parts.query, keep_blank_values=True),
            {name.lower(): value for name, value in self.headers.items()},
            b"",
        )
        there = self.there
        fault = there._fault(request)
        if fault is not None and fault.read is not None:
            self.rfile.read(fault.read)
            self._reset()
            return
        request.body = self._body()
        with there.lock:
            there.requests.append(request)
            if credential := request.headers.get("authorization"):
                there.keys.add(credential)
        if fault is not None and fault.stall:
            time.sleep(fault.stall)
        if fault is not None and not fault.after:
            if fault.drop:
                self._reset()
                return
            if fault.answer is not None:
                self._send(fault.answer)
                return
        with there.lock:
            answer = there.respond(request)
            if there.spec is not None:
                there.violations += there.spec.violations(request, answer)
        if fault is not None and fault.after:
            if fault.drop:
                self._reset()
                return
            if fault.answer is not None:
                answer = fault.answer
        if fault is not None and fault.mangle is not None:
            answer = Answer(answer.status, headers=answer.headers, raw=fault.mangle(_bytes(answer)))
        if fault is not None and fault.drip:
            answer.drip = fault.drip
        self._send(answer)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = _handle

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            whole = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                whole += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return whole
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _reset(self) -> None:
        # A reset and no orderly end: as when a connection drops.
        with suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        with suppress(OSError):
            self.connection.close()

    def _send(self, answer: Answer) -> None:
        content = _bytes(answer)
        with suppress(ConnectionError, BrokenPipeError):
            self.send_response(answer.status)
            headers = {"Content-Type": "application/json"} | answer.headers
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "HEAD":
                return
            if not answer.drip:
                self.wfile.write(content)
                return
            for at in range(0, len(content), 16):
                self.wfile.write(content[at : at + 16])
                self.wfile.flush()
                time.sleep(answer.drip)


def _bytes(answer: Answer) -> bytes:
    if answer.raw is not None:
        return answer.raw
    return b"" if answer.document is None else json.dumps(answer.document).encode()
