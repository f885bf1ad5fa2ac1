"""The bytes of a server's stream, before an SDK reads them. Imports httpx: import it late."""

from __future__ import annotations

import codecs
from collections.abc import AsyncIterator
from typing import Any

from httpx2 import AsyncByteStream, Response

from waltzrl_tui.endpoints.response_text import MOST_BYTES, too_long


async def tame(response: Response) -> None:
    """A hook for answers: what is read of them is UTF-8, and not more than `MOST_BYTES`.

    Bytes that are not UTF-8 become U+FFFD, where an SDK would give the reply up.
    """
    # What is compressed all the same is left as it is: its bytes are no text yet.
    coded = response.headers.get("content-encoding", "identity") != "identity"
    response.stream = _Tame(response.stream, coded)


class _Tame(AsyncByteStream):
    def __init__(self, source: Any, coded: bool) -> None:
        self._source, self._coded = source, coded

    async def __aiter__(self) -> AsyncIterator[bytes]:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        read = 0
        async for chunk in self._source:
            read += len(chunk)
            if read > MOST_BYTES:
                raise too_long(MOST_BYTES)
            yield chunk if self._coded else decoder.decode(chunk).encode()
        if rest := decoder.decode(b"", final=True):
            yield rest.encode()

    async def aclose(self) -> None:
        await self._source.aclose()
