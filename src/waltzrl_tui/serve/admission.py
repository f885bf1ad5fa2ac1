"""Who may ask: holders of the key, or without one programs on this machine; never web pages."""

from __future__ import annotations

import hmac
from urllib.parse import urlsplit

from aiohttp import web

from waltzrl_tui.network import is_loopback
from waltzrl_tui.serve.errors import ApiError


def admit(request: web.Request, key: str) -> None:
    """Refuse who lacks the key.

    Without a key, web pages are refused, those of this machine too: a page can send requests to
    loopback without being able to read the answers, and one whose name was made to point there
    (DNS rebinding) could read them. The first kind tells its origin, the second its own name.

    Raises:
        ApiError: 401 or 403.
    """
    if key:
        scheme, _, sent = request.headers.get("authorization", "").partition(" ")
        # Bytes that are not UTF-8 come as halves of surrogate pairs.
        known = hmac.compare_digest(
            sent.strip().encode("utf-8", "surrogateescape"), key.encode("utf-8", "surrogateescape")
        )
        if not known or scheme.lower() != "bearer":
            raise ApiError(401, "The API key is missing or wrong.", code="invalid_api_key")
        return
    page = "origin" in request.headers or request.headers.get("sec-fetch-site", "none") != "none"
    if page or not is_loopback(_host(request.host)):
        raise ApiError(403, "Without a key only programs on this machine are answered.")


def _host(header: str) -> str:
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""
