"""What clients ask: a request of OpenAI's chat completions as a pair can answer it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from waltzrl_tui.agents.endpoint_text import WholeText, content_text
from waltzrl_tui.agents.prompts import Message
from waltzrl_tui.serve.errors import ApiError

_HARMLESS: Final = frozenset({"user", "metadata", "store", "safety_identifier", "service_tier"})
_REFUSED: Final = ("tools", "functions", "audio", "logprobs", "top_logprobs", "logit_bias")


@dataclass(frozen=True, slots=True)
class Ask:
    """A request that a pair can answer.

    Attributes:
        model: The pair's name.
        history: The turns, ending with the user's. What system messages said stands before the
            first user turn: the agents have system prompts of their own.
        max_tokens: Of the reply; None for the server's own cap.
        stops: Texts where the reply that is given out ends.
        usage: Whether a stream ends with a chunk of token counts.
        drafts: Whether drafts and verdicts are told while they come; None: as the server does.
        ignored: Fields that say something that no pair can follow.
    """

    model: str
    history: list[Message]
    max_tokens: int | None
    temperature: float
    seed: int | None
    stops: tuple[str, ...]
    stream: bool
    usage: bool
    drafts: bool | None
    ignored: tuple[str, ...]


class _Turn(BaseModel):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[dict[str, Any]] | None = None


class _StreamOptions(BaseModel):
    include_usage: bool = False


class _Wishes(BaseModel):
    drafts: bool | None = None


class _Body(BaseModel):
    model_config = ConfigDict(extra="allow")

    model: str
    messages: list[_Turn] = Field(min_length=1)
    max_tokens: int | None = Field(None, ge=1, le=1_000_000)
    max_completion_tokens: int | None = Field(None, ge=1, le=1_000_000)
    temperature: float | None = Field(None, ge=0, le=2)
    seed: int | None = None
    stop: str | list[str] | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    n: Literal[1] | None = None
    waltzrl: _Wishes | None = None


def read_request(raw: bytes) -> Ask:
    """The request in the body of a POST.

    Raises:
        ApiError: 400, with the field that is wrong.
    """
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ApiError(400, f"The body is not JSON: {error}.", code="invalid_json") from error
    if not isinstance(found, dict):
        raise ApiError(400, "The body is not a JSON object.", code="invalid_json")
    for name in _REFUSED:
        if found.get(name):
            raise ApiError(
                400, f"A pair of agents answers in text; it takes no {name}.", param=name
            )
    form = found.get("response_format")
    if isinstance(form, dict) and form.get("type", "text") != "text":
        raise ApiError(400, "A pair of agents answers in text.", param="response_format")
    try:
        body = _Body.model_validate(found)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ApiError(400, f"{where}: {first['msg']}.", param=where) from error
    stop = [body.stop] if isinstance(body.stop, str) else body.stop or []
    extra = body.model_extra or {}
    return Ask(
        body.model,
        _history(body.messages),
        body.max_completion_tokens or body.max_tokens,
        body.temperature or 0.0,
        body.seed,
        tuple(text for text in stop if text),
        bool(body.stream),
        body.stream_options is not None and body.stream_options.include_usage,
        body.waltzrl.drafts if body.waltzrl else None,
        tuple(sorted(name for name, value in extra.items() if value and name not in _HARMLESS)),
    )


def _history(turns: list[_Turn]) -> list[Message]:
    told, history = [], []
    for number, turn in enumerate(turns):
        text = _text(turn, f"messages.{number}.content")
        if turn.role in ("system", "developer"):
            told.append(text)
        else:
            history.append({"role": turn.role, "content": text})
    if not history or history[-1]["role"] != "user":
        raise ApiError(400, "The last message is not the user's.", param="messages")
    if not history[-1]["content"].strip():
        raise ApiError(400, "The user's message is empty.", param="messages")
    if told:
        first = next(turn for turn in history if turn["role"] == "user")
        first["content"] = "\n\n".join([*told, first["content"]])
    return history


def _text(turn: _Turn, where: str) -> str:
    if isinstance(turn.content, list):
        for part in turn.content:
            if part.get("type") != "text":
                raise ApiError(400, "A pair of agents reads text only.", param=where)
    whole = WholeText()
    return whole.feed(content_text(turn.content)) + whole.rest()
