"""One turn of a chat."""

from __future__ import annotations

Message = dict[str, str]
"""One chat message: `role` ("system", "user" or "assistant") and `content`."""
