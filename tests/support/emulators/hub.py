"""The part of the Hugging Face hub that fetching a dataset uses, on loopback, with its own words.

It speaks to the real client: set `HF_ENDPOINT` to `url`.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote, urlsplit

_INFO = re.compile(r"/api/datasets/(?P<repo>[^/]+/[^/]+)(/revision/(?P<revision>[^/]+))?")
_FILE = re.compile(r"/datasets/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)")


@dataclass
class HubSet:
    """A dataset repository.

    Attributes:
        branches: Files by name, by branch.
        token: Who has it may read a gated set.
    """

    branches: dict[str, dict[str, bytes]]
    card: dict[str, Any] = field(default_factory=dict)
    gated: bool = False
    token: str = ""

    def commit(self, branch: str) -> str:
        content = repr(sorted(self.branches[branch].items())).encode()
        return hashlib.sha1(branch.encode() + content).hexdigest()

    def branch_of(self, revision: str) -> str | None:
        return next((name for name in self.branches if revision in (name, self.commit(name))), None)


class HubEmulator:
    """`with HubEmulator({"owner/name": HubSet(…)}) as hub:`

    Attributes:
        requests: Method, path and Range header of all requests.
        tokens: Every Authorization header that came.
        status: Answer everything with this status instead.
    """

    def __init__(self, sets: dict[str, HubSet]) -> None:
        self.sets = sets
        self.requests: list[tuple[str, str, str]] = []
        self.tokens: set[str] = set()
        self.status = 0
        hub = self

        class Handler(_Handler):
            emulator = hub

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

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


class _Handler(BaseHTTPRequestHandler):
    emulator: HubEmulator
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        hub = self.emulator
        path = urlsplit(self.path).path
        hub.requests.append((self.command, path, self.headers.get("Range", "")))
        hub.tokens.add(self.headers.get("Authorization", ""))
        if hub.status:
            self._refuse(hub.status, "", "scripted failure")
        elif found := _INFO.fullmatch(path):
            self._info(found["repo"], unquote(found["revision"] or "main"))
        elif found := _FILE.fullmatch(path):
            self._file(found["repo"], unquote(found["revision"]), unquote(found["file"]))
        else:
            self._refuse(404, "", "no such page")

    def _info(self, repo: str, revision: str) -> None:
        held = self.emulator.sets.get(repo)
        if held is None:
            self._refuse(401, "RepoNotFound", "Repository not found")
            return
        branch = held.branch_of(revision)
        if branch is None:
            self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
            return
        siblings = [
            {
                "rfilename": name,
                "size": len(content),
                "blobId": hashlib.sha1(content).hexdigest(),
                "lfs": {
                    "size": len(content),
                    "sha256": hashlib.sha256(content).hexdigest(),
                    "pointerSize": 130,
                },
            }
            for name, content in sorted(held.branches[branch].items())
        ]
        document = {
            "id": repo,
            "sha": held.commit(branch),
            "gated": "auto" if held.gated else False,
            "cardData": held.card,
            "siblings": siblings,
        }
        self._send(200, json.dumps(document).encode(), {"Content-Type": "application/json"})

    def _file(self, repo: str, revision: str, name: str) -> None:
        held = self.emulator.sets.get(repo)
        if held is None:
            self._refuse(401, "RepoNotFound", "Repository not found")
            return
        if held.gated and self.headers.get("Authorization") != f"Bearer {held.token}":
            self._refuse(403, "GatedRepo", "Access to this dataset is restricted")
            return
        branch = held.branch_of(revision)
        content = held.branches[branch].get(name) if branch else None
        if branch is None or content is None:
            self._refuse(404, "EntryNotFound", "Entry not found")
            return
        headers = {
            "X-Repo-Commit": held.commit(branch),
            "ETag": f'"{hashlib.sha256(content).hexdigest()}"',
            "Accept-Ranges": "bytes",
        }
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        begin = int(asked[1]) if asked else 0
        if asked:
            headers["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
        self._send(206 if asked else 200, content[begin:], headers)

    def _refuse(self, status: int, code: str, message: str) -> None:
        headers = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {})}
        self._send(status, json.dumps({"error": message}).encode(), headers)

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        # A client that has stopped half-way is no fault of the server's.
        with suppress(OSError):
            self.wfile.write(body)
