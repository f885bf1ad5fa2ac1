"""An HTTP proxy on loopback that keeps the head of every request and answers it by itself."""

from __future__ import annotations

import socketserver
import threading
from typing import Self


class RecordingProxy:
    """`with RecordingProxy() as proxy:` — at `proxy.address`, "host:port"."""

    def __init__(self, status: str = "200 OK", body: bytes = b"{}") -> None:
        self.heads: list[str] = []
        answer = (
            f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\n"
            f"content-length: {len(body)}\r\n\r\n"
        ).encode() + body
        heads = self.heads

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                lines = []
                while (line := self.rfile.readline()) not in (b"\r\n", b""):
                    lines.append(line)
                heads.append(b"".join(lines).decode("latin-1"))
                sizes = [line for line in lines if line.lower().startswith(b"content-length:")]
                self.rfile.read(int(sizes[0].split(b":")[1]) if sizes else 0)
                self.wfile.write(answer)

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
