"""Whole replies by the hundred: one POST each, without an SDK's objects around it.

The SDK takes some 1.2 ms more of this process for a reply, in which a server that allows eight
requests at once stands idle (`benchmarks/bench_evaluate.py`).
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from waltzrl_tui.endpoints.errors import RefusedError, UnreachableError
from waltzrl_tui.endpoints.response_text import MOST_BYTES, too_long

if TYPE_CHECKING:
    from ssl import SSLContext

    from aiohttp import ClientResponse, ClientSession

_IDLE_SECONDS: Final = 4.0
"""Servers close connections that were idle for five seconds or more."""


class WholeClient:
    """Connections to the chat completions of one server.

    Args:
        base_url: Up to and including `/v1`.
        api_key: Sent as a bearer token.
        connect: Seconds to reach the server.
    """

    def __init__(self, base_url: str, api_key: str, *, connect: float) -> None:
        self._url = f"{base_url.rstrip('/')}/chat/completions"
        self._api_key = api_key
        self._connect = connect
        self._tls: SSLContext | None = None
        self._proxy: str | None = None
        self._session: ClientSession | None = None

    def prepare(self) -> None:
        """Read certificates and the environment's proxy. Blocks for some 30 ms."""
        import aiohttp  # noqa: F401 - takes a third of a second, so not on the event loop
        import httpx2

        where = urlsplit(self._url)
        # As for streams: the SDK's own HTTP client has the same certificates.
        self._tls = httpx2.create_ssl_context() if where.scheme == "https" else None
        host = where.hostname or ""
        if not urllib.request.proxy_bypass(host):
            proxies = urllib.request.getproxies()
            self._proxy = proxies.get(where.scheme) or proxies.get("all")

    async def post(self, body: Mapping[str, Any]) -> Any:
        """The server's answer to `body`, as JSON.

        Raises:
            RefusedError: It answered with a status that is no success.
            UnreachableError: It cannot be connected to.
            EndpointError: The answer is too long.
            ValueError: The answer is no JSON.
            OSError, aiohttp.ClientError: The connection broke.
        """
        import aiohttp

        asked = json.dumps(body).encode()
        session = self._session or self._open()
        try:
            async with session.post(self._url, data=asked, proxy=self._proxy) as response:
                text = await _read(response)
                if response.status >= 400:
                    raise RefusedError(response.status, response.headers, text)
                return json.loads(text)
        # Neither of them may be taken for our own patience's end, or for nonsense in an answer.
        except (aiohttp.ClientConnectorError, aiohttp.ServerTimeoutError) as error:
            raise UnreachableError(str(error) or type(error).__name__) from error

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    def _open(self) -> ClientSession:
        import aiohttp

        self._session = aiohttp.ClientSession(
            # How many at once is decided by who asks.
            connector=aiohttp.TCPConnector(
                limit=0, ssl=self._tls or True, keepalive_timeout=_IDLE_SECONDS
            ),
            # Waiting for an answer is ours: see `steady`.
            timeout=aiohttp.ClientTimeout(sock_connect=self._connect),
            headers={
                "authorization": f"Bearer {self._api_key}",
                "content-type": "application/json",
                "accept": "application/json",
            },
        )
        return self._session


async def _read(response: ClientResponse) -> str:
    """The body as text; what is not UTF-8 in it becomes U+FFFD."""
    pieces: list[bytes] = []
    read = 0
    async for piece in response.content.iter_any():
        read += len(piece)
        if read > MOST_BYTES:
            raise too_long(MOST_BYTES)
        pieces.append(piece)
    return b"".join(pieces).decode("utf-8", "replace")
