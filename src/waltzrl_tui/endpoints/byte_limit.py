"""The bytes of a server's stream, before an SDK reads them. Imports httpx: import it late."""

from __future__ import annotations

import codecs
from collections.abc import AsyncIterator
from typing import Any

from httpx2 import AsyncByteStream, Response

from waltzrl_tui.endpoints.response_text import MAX_BYTES, response_too_long


async def sanitize_stream(response: Response) -> None:
    """A response hook: the body reads as UTF-8, and at most `MAX_BYTES` of it.

    Bytes that are not UTF-8 become U+FFFD; an SDK would abandon the reply.
    """
    # A body that is compressed all the same passes unchanged: its bytes are not text yet.
    compressed = response.headers.get("content-encoding", "identity") != "identity"
    response.stream = _SanitizedStream(response.stream, compressed)


class _SanitizedStream(AsyncByteStream):
    def __init__(self, source: Any, compressed: bool) -> None:
        self._source, self._compressed = source, compressed

    async def __aiter__(self) -> AsyncIterator[bytes]:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        size = 0
        async for chunk in self._source:
            size += len(chunk)
            if size > MAX_BYTES:
                raise response_too_long(MAX_BYTES)
            yield chunk if self._compressed else decoder.decode(chunk).encode()
        if rest := decoder.decode(b"", final=True):
            yield rest.encode()

    async def aclose(self) -> None:
        await self._source.aclose()
