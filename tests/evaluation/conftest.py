from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from scripted_server import ChatServer


@pytest.fixture
async def chat_server() -> AsyncIterator[ChatServer]:
    server = ChatServer()
    await server.start()
    yield server
    await server.stop()
