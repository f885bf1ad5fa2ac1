"""Which clients are served: those with the key or, without one, programs on this machine."""

from __future__ import annotations

import hmac

from aiohttp import web

from waltzrl_tui.network import on_this_machine
from waltzrl_tui.serve.errors import ApiError


def admit(request: web.Request, key: str) -> None:
    """Refuse clients without the key, and web pages where there is no key.

    A web page can send requests to loopback although it cannot read the answers; a page whose
    name resolves to loopback (DNS rebinding) could read them. The first sends its origin, the
    second its own host name. Pages served from this machine are refused too.

    Args:
        key: The key that clients must send; "" for none.

    Raises:
        ApiError: 401 without the right key; 403 where no key is set.
    """
    if key:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        # Bytes that are not UTF-8 arrive as halves of surrogate pairs.
        valid = hmac.compare_digest(
            token.strip().encode("utf-8", "surrogateescape"), key.encode("utf-8", "surrogateescape")
        )
        if not valid or scheme.lower() != "bearer":
            raise ApiError(401, "The API key is missing or wrong.", code="invalid_api_key")
        return
    headers = request.headers
    from_page = "origin" in headers or headers.get("sec-fetch-site", "none") != "none"
    if from_page or not on_this_machine(f"//{request.host}"):
        raise ApiError(403, "Without a key, only programs on this machine may send requests.")
