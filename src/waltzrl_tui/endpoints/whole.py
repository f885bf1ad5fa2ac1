"""Whole replies by the hundred: one POST each, without an SDK's objects around it.

The SDK costs this process some 1.2 ms more per reply, while a server that allows eight requests
at once sits idle (`benchmarks/bench_evaluate.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from waltzrl_tui.endpoints.errors import RefusedError, UnreachableError
from waltzrl_tui.endpoints.response_text import MAX_BYTES, response_too_long
from waltzrl_tui.network import Proxy, certificates, proxy_of

if TYPE_CHECKING:
    from ssl import SSLContext

    from aiohttp import ClientResponse, ClientSession

_IDLE_SECONDS: Final = 4.0
"""Servers close connections after five idle seconds or more."""


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
        self._proxy: Proxy | None = None
        self._session: ClientSession | None = None

    def prepare(self) -> None:
        """Read certificates and the environment's proxy. Blocks for some 30 ms.

        Raises:
            RouteError: The environment names a proxy or certificates that cannot be used.
        """
        import aiohttp  # noqa: F401 - takes a third of a second, so not on the event loop
        import httpx2

        self._proxy = proxy_of(self._url)
        over_tls = self._proxy is not None and self._proxy.url.startswith("https:")
        if over_tls or self._url.startswith("https:"):
            self._tls = certificates(httpx2)

    async def post(self, body: Mapping[str, Any]) -> Any:
        """The server's response to `body`, parsed from JSON.

        Raises:
            RefusedError: The status is 400 or above.
            UnreachableError: The connection cannot be made.
            EndpointError: The response is too long.
            ValueError: The response is not JSON.
            OSError, aiohttp.ClientError: The connection broke.
        """
        import aiohttp

        payload = json.dumps(body).encode()
        session = self._session or self._open()
        proxy = self._proxy.url if self._proxy else None
        try:
            async with session.post(self._url, data=payload, proxy=proxy) as response:
                if response.status == 407 and self._proxy:
                    raise UnreachableError(f"407 Proxy Authentication Required ({self._proxy})")
                text = await _read(response)
                if response.status >= 400:
                    raise RefusedError(response.status, response.headers, text)
                return json.loads(text)
        # Neither may be mistaken for our own timeout, or for nonsense in a response.
        except (aiohttp.ClientConnectorError, aiohttp.ServerTimeoutError) as error:
            words = str(error) or type(error).__name__
            raise UnreachableError(f"{words} ({self._proxy})" if self._proxy else words) from error
        except aiohttp.ClientHttpProxyError as error:
            # Its own words would repeat the proxy's address.
            raise UnreachableError(f"{error.status} {error.message} ({self._proxy})") from error

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            session, self._session = self._session, None
            await session.close()

    def _open(self) -> ClientSession:
        import aiohttp

        self._session = aiohttp.ClientSession(
            # The caller decides how many run at once.
            connector=aiohttp.TCPConnector(
                limit=0, ssl=self._tls or True, keepalive_timeout=_IDLE_SECONDS
            ),
            # `StreamingEndpoint` times the reply itself.
            timeout=aiohttp.ClientTimeout(sock_connect=self._connect),
            headers={
                "authorization": f"Bearer {self._api_key}",
                "content-type": "application/json",
                "accept": "application/json",
            },
        )
        return self._session


async def _read(response: ClientResponse) -> str:
    """The body as text; bytes that are not UTF-8 become U+FFFD."""
    pieces: list[bytes] = []
    size = 0
    async for piece in response.content.iter_any():
        size += len(piece)
        if size > MAX_BYTES:
            raise response_too_long(MAX_BYTES)
        pieces.append(piece)
    return b"".join(pieces).decode("utf-8", "replace")
