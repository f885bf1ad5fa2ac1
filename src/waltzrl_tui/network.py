"""How requests leave this process: which proxy they take, and by which certificates.

What runs on this machine is never asked through a proxy, whatever the environment says: a proxy
could not reach it, and would read prompts and keys. Every HTTP client here is built on `transport`
or `async_transport`, or asks `proxy_of`.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from contextlib import suppress
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit

from waltzrl_tui.errors import WaltzError
from waltzrl_tui.text import one_line

if TYPE_CHECKING:
    import ssl

THROUGH: Final = "through the proxy"
"""In the words of every failure of a request that took a proxy."""

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
        return None  # Whoever asks there says that it is no address.
    proxies = getproxies()
    scheme = parts.scheme if proxies.get(parts.scheme) else "all"
    value = proxies.get(scheme)
    if not value or on_this_machine(url) or _bypasses(host, port, proxies.get("no", "")):
        return None
    return _checked(_variable(scheme), value.strip(), host)


def certificates(http: ModuleType) -> ssl.SSLContext:
    """What servers' certificates are checked against. Blocks for some 30 ms.

    Args:
        http: `httpx2` or `httpx`, whose usual certificates are taken.

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
            hint=f"Set {name or 'SSL_CERT_FILE'} to a file of certificates (PEM)"
            f"{', or unset it' if name else ''}.",
        ) from error
    return context


def async_transport(http: ModuleType, url: str = "") -> Any:
    """A transport for an `AsyncClient` of `httpx2` or `httpx`.

    Raises `ConnectError` of that package at a request that cannot be sent for the environment.

    Args:
        url: An address that will be asked: its certificates are read now.
    """
    return _AsyncRoutes(http, http.AsyncHTTPTransport, url)


def transport(http: ModuleType, url: str = "") -> Any:
    """The same for a `Client`."""
    return _SyncRoutes(http, http.HTTPTransport, url)


def route_hub() -> None:
    """See that all that huggingface_hub asks for takes these ways, too."""
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

    global _hub_is_routed
    if not _hub_is_routed:  # Each call closes the connections that there are.
        _hub_is_routed = True
        set_client_factory(client)


_hub_is_routed = False


class _Routes:
    """Transports of one HTTP package, one for each way that a request can take."""

    def __init__(self, http: ModuleType, kind: Any, url: str) -> None:
        self._http = http
        self._kind = kind
        self._transports: dict[tuple[Proxy | None, bool], Any] = {}
        with suppress(RouteError):  # raised again by the request
            self._open(url)

    def _open(self, url: str) -> tuple[Any, Proxy | None]:
        import ssl

        proxy, secure = proxy_of(url), url.startswith("https:")
        way = (proxy, secure)
        if way not in self._transports:
            over_tls = proxy is not None and proxy.url.startswith("https:")
            # Plain HTTP needs no certificates; without any, nothing else would be trusted.
            empty = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context = certificates(self._http) if secure or over_tls else empty
            self._transports[way] = self._kind(
                verify=context,
                limits=self._http.Limits(max_connections=1000, max_keepalive_connections=100),
                socket_options=_KEEP_ALIVE,
                proxy=proxy
                and self._http.Proxy(proxy.url, ssl_context=context if over_tls else None),
            )
        return self._transports[way], proxy

    def _choose(self, request: Any) -> tuple[Any, Proxy | None]:
        try:
            return self._open(str(request.url))
        except RouteError as error:
            raise self._http.ConnectError(str(error)) from error

    def _failure(self, error: Exception, proxy: Proxy | None) -> Exception:
        if proxy is None:
            return error
        # What the proxy refused never reached the server.
        refused = isinstance(error, self._http.ProxyError)
        kind = self._http.ConnectError if refused else type(error)
        words: Exception = kind(f"{error or type(error).__name__} ({proxy})")
        return words


class _AsyncRoutes(_Routes):
    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def handle_async_request(self, request: Any) -> Any:
        way, proxy = self._choose(request)
        try:
            response = await way.handle_async_request(request)
        except self._http.TransportError as error:
            raise self._failure(error, proxy) from error.__cause__
        if proxy is not None and response.status_code == 407:
            await response.aclose()
            raise self._failure(self._http.ProxyError("407 Proxy Authentication Required"), proxy)
        return response

    async def aclose(self) -> None:
        ways, self._transports = list(self._transports.values()), {}
        for way in ways:
            await way.aclose()


class _SyncRoutes(_Routes):
    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def handle_request(self, request: Any) -> Any:
        way, proxy = self._choose(request)
        try:
            response = way.handle_request(request)
        except self._http.TransportError as error:
            raise self._failure(error, proxy) from error.__cause__
        if proxy is not None and response.status_code == 407:
            response.close()
            raise self._failure(self._http.ProxyError("407 Proxy Authentication Required"), proxy)
        return response

    def close(self) -> None:
        ways, self._transports = list(self._transports.values()), {}
        for way in ways:
            way.close()


def _bypasses(host: str, port: int | None, entries: str) -> bool:
    """Whether NO_PROXY names a host: as itself, by its domain, or by a network of addresses."""
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
    way_out = f"unset {variable}, or add {host} to NO_PROXY."
    url = value if "://" in value else f"http://{value}"
    try:
        parts = urlsplit(url)
        well_formed = bool(_HOST.fullmatch(parts.hostname or "")) and parts.port != 0
        # A password with a slash ends up there.
        well_formed = well_formed and "@" not in parts.path + parts.query + parts.fragment
    except ValueError:
        well_formed = False
    if not well_formed:
        raise RouteError(
            f"{variable} is not the address of a proxy.",
            hint=f"Set it to one like http://127.0.0.1:3128, {way_out}",
        )
    if parts.scheme.lower() not in _PORTS:
        raise RouteError(
            f"{variable} names a proxy of a kind that is not supported ({_masked(url)}).",
            hint=f"Set it to an HTTP proxy, like http://127.0.0.1:3128, {way_out}",
        )
    return Proxy(variable=variable, url=url)


def _masked(url: str) -> str:
    """A proxy's address without its user and password."""
    parts = urlsplit(url)
    shown = parts.netloc.rpartition("@")
    return one_line(f"{parts.scheme}://{'…@' if shown[1] else ''}{shown[2]}", 120)


def _variable(scheme: str) -> str:
    # Of the two spellings `getproxies` takes the lower one.
    names = (f"{scheme}_proxy", f"{scheme.upper()}_PROXY")
    return next((name for name in names if os.environ.get(name)), "the system's proxy settings")
