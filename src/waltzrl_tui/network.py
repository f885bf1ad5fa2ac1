"""How requests leave this process: their proxy and certificates.

Servers on this machine are never reached through a proxy, whatever the environment says: a proxy
could not reach them, and would read prompts and keys. Every HTTP client here is built on
`transport` or `async_transport`, or asks `proxy_of`.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit

from waltzrl_tui.errors import WaltzError
from waltzrl_tui.text import one_line

if TYPE_CHECKING:
    import ssl

THROUGH: Final = "through the proxy"
"""In the message of every failure behind a proxy."""

_PORTS: Final = {"http": 80, "https": 443}
_HOST: Final = re.compile(r"[\w.:%-]+")
_KEEP_ALIVE: Final = [
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 60), ("TCP_KEEPCNT", 5))
        if hasattr(socket, name)
    ),
]


class RouteError(WaltzError):
    """The environment names a proxy or certificates that cannot be used."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy.

    Attributes:
        variable: The environment variable that names it.
        url: Its address, which may hold a password: never shown.
    """

    variable: str
    url: str

    def __str__(self) -> str:
        return f"{THROUGH} {_masked(self.url)} of {self.variable}"

    __repr__ = __str__


def is_loopback(host: str) -> bool:
    """Whether a host's name or address means this machine itself."""
    if host.lower() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def on_this_machine(url: str) -> bool:
    """Whether an address is one of loopback."""
    try:
        return is_loopback(urlsplit(url).hostname or "")
    except ValueError:
        return False


def proxy_of(url: str) -> Proxy | None:
    """The proxy that the environment names for an address; None to connect directly.

    Raises:
        RouteError: It names one that cannot be used.
    """
    from urllib.request import getproxies  # slow to import, and the command line starts with us

    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return None  # The request itself reports that it is not a URL.
    proxies = getproxies()
    scheme = parts.scheme if proxies.get(parts.scheme) else "all"
    value = proxies.get(scheme)
    if not value or on_this_machine(url) or _bypasses(host, port, proxies.get("no", "")):
        return None
    return _checked(_variable(scheme), value.strip(), host)


def certificates(http: ModuleType) -> ssl.SSLContext:
    """The context that servers' certificates are checked against. Blocks for some 30 ms.

    Args:
        http: `httpx2` or `httpx`, whose default certificates are used.

    Raises:
        RouteError: The environment names a file that cannot be read.
    """
    try:
        context: ssl.SSLContext = http.create_ssl_context()
    except OSError as error:
        name = next(
            (each for each in ("SSL_CERT_FILE", "SSL_CERT_DIR") if os.environ.get(each)), ""
        )
        place = f"{name}={one_line(os.environ[name], 120)}" if name else "this machine"
        raise RouteError(
            f"The certificates of {place} cannot be read: {error.strerror or error}.",
            hint=f"Set {name or 'SSL_CERT_FILE'} to a PEM file of certificates"
            f"{', or unset it' if name else ''}.",
        ) from error
    return context


def async_transport(http: ModuleType, url: str = "") -> Any:
    """A transport for an `AsyncClient` of `httpx2` or `httpx`.

    A request that the environment prevents raises that package's `ConnectError`.

    Args:
        url: The address of later requests: its certificates are read now.
    """
    return _AsyncRoutes(http, http.AsyncHTTPTransport, url)


def transport(http: ModuleType, url: str = "") -> Any:
    """The same for a `Client`."""
    return _SyncRoutes(http, http.HTTPTransport, url)


@cache  # Each call of the hub's setter closes the open connections.
def route_hub() -> None:
    """Route all requests of huggingface_hub in the same way."""
    import httpx2
    from huggingface_hub import set_client_factory
    from huggingface_hub.utils import _http

    def client() -> httpx2.Client:
        return httpx2.Client(
            transport=transport(httpx2),
            event_hooks={"request": [_http.hf_request_event_hook]},
            follow_redirects=True,
            timeout=None,
        )

    set_client_factory(client)


class _Routes:
    """Transports of one HTTP package, one for each route that a request can take."""

    def __init__(self, http: ModuleType, kind: Any, url: str) -> None:
        self._http = http
        self._kind = kind
        self._transports: dict[tuple[Proxy | None, bool], Any] = {}
        with suppress(RouteError):  # the request raises it again
            self._open(url)

    def _open(self, url: str) -> tuple[Any, Proxy | None]:
        import ssl

        proxy, secure = proxy_of(url), url.startswith("https:")
        route = (proxy, secure)
        if route not in self._transports:
            over_tls = proxy is not None and proxy.url.startswith("https:")
            # Plain HTTP needs no certificates; without them, no TLS server is trusted.
            empty = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context = certificates(self._http) if secure or over_tls else empty
            self._transports[route] = self._kind(
                verify=context,
                limits=self._http.Limits(max_connections=1000, max_keepalive_connections=100),
                socket_options=_KEEP_ALIVE,
                proxy=proxy
                and self._http.Proxy(proxy.url, ssl_context=context if over_tls else None),
            )
        return self._transports[route], proxy

    def _choose(self, request: Any) -> tuple[Any, Proxy | None]:
        try:
            return self._open(str(request.url))
        except RouteError as error:
            raise self._http.ConnectError(str(error)) from error

    def _failure(self, error: Exception, proxy: Proxy | None) -> Exception:
        if proxy is None:
            return error
        # A request refused by the proxy never reached the server.
        refused = isinstance(error, self._http.ProxyError)
        kind = self._http.ConnectError if refused else type(error)
        failure: Exception = kind(f"{error or type(error).__name__} ({proxy})")
        return failure


class _AsyncRoutes(_Routes):
    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def handle_async_request(self, request: Any) -> Any:
        route, proxy = self._choose(request)
        try:
            response = await route.handle_async_request(request)
        except self._http.TransportError as error:
            raise self._failure(error, proxy) from error.__cause__
        if proxy is not None and response.status_code == 407:
            await response.aclose()
            raise self._failure(self._http.ProxyError("407 Proxy Authentication Required"), proxy)
        return response

    async def aclose(self) -> None:
        transports, self._transports = list(self._transports.values()), {}
        for each in transports:
            await each.aclose()


class _SyncRoutes(_Routes):
    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def handle_request(self, request: Any) -> Any:
        route, proxy = self._choose(request)
        try:
            response = route.handle_request(request)
        except self._http.TransportError as error:
            raise self._failure(error, proxy) from error.__cause__
        if proxy is not None and response.status_code == 407:
            response.close()
            raise self._failure(self._http.ProxyError("407 Proxy Authentication Required"), proxy)
        return response

    def close(self) -> None:
        transports, self._transports = list(self._transports.values()), {}
        for each in transports:
            each.close()


def _bypasses(host: str, port: int | None, entries: str) -> bool:
    """Whether NO_PROXY names a host, its domain, or its network."""
    from urllib.request import proxy_bypass

    if proxy_bypass(f"{host}:{port}" if ":" not in host else host):
        return True
    for entry in map(str.strip, entries.split(",")):
        if entry.startswith("*.") and host.endswith(entry[1:].lower()):
            return True
        with suppress(ValueError, TypeError):
            network = ipaddress.ip_network(entry.strip("[]"), strict=False)
            if ipaddress.ip_address(host) in network:
                return True
    return False


def _checked(variable: str, value: str, host: str) -> Proxy:
    alternatives = f"unset {variable}, or add {host} to NO_PROXY."
    url = value if "://" in value else f"http://{value}"
    try:
        parts = urlsplit(url)
        well_formed = bool(_HOST.fullmatch(parts.hostname or "")) and parts.port != 0
        # A password with a slash would end up there.
        well_formed = well_formed and "@" not in parts.path + parts.query + parts.fragment
    except ValueError:
        well_formed = False
    if not well_formed:
        raise RouteError(
            f"{variable} is not the address of a proxy.",
            hint=f"Set it to one like http://127.0.0.1:3128, {alternatives}",
        )
    if parts.scheme.lower() not in _PORTS:
        raise RouteError(
            f"{variable} names an unsupported kind of proxy ({_masked(url)}).",
            hint=f"Set it to an HTTP proxy, like http://127.0.0.1:3128, {alternatives}",
        )
    return Proxy(variable=variable, url=url)


def _masked(url: str) -> str:
    """A proxy's address without its user and password."""
    parts = urlsplit(url)
    _, at, host = parts.netloc.rpartition("@")
    return one_line(f"{parts.scheme}://{'…@' if at else ''}{host}", 120)


def _variable(scheme: str) -> str:
    # If both spellings are set, `getproxies` takes the lower-case one.
    names = (f"{scheme}_proxy", f"{scheme.upper()}_PROXY")
    return next((name for name in names if os.environ.get(name)), "the system's proxy settings")
