"""What clients ask: a request of OpenAI's chat completions as a pair can answer it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from waltzrl_tui.endpoints.response_text import SurrogateJoiner, content_text
from waltzrl_tui.records.messages import Message
from waltzrl_tui.serve.errors import ApiError

_HARMLESS: Final = frozenset({"user", "metadata", "store", "safety_identifier", "service_tier"})
_REFUSED: Final = ("tools", "functions", "audio", "logprobs", "top_logprobs", "logit_bias")
_MOST_STOPS: Final = 16
_LONGEST_STOP: Final = 500


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


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")


class _Turn(_Part):
    role: Literal["system", "developer", "user", "assistant"]
    content: Any = None


class _StreamOptions(_Part):
    include_usage: bool = False


class _Wishes(_Part):
    drafts: bool | None = None


class _Body(_Part):
    model: str
    messages: list[_Turn] = Field(min_length=1)
    max_tokens: int | None = Field(None, ge=1, le=1_000_000)
    max_completion_tokens: int | None = Field(None, ge=1, le=1_000_000)
    temperature: float | None = Field(None, ge=0, le=2)
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    stop: Any = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    n: int | None = Field(None, ge=1, le=1)
    response_format: Any = None
    modalities: Any = None
    waltzrl: _Wishes | None = None


def read_request(raw: bytes) -> Ask:
    """The request in the body of a POST.

    Raises:
        ApiError: 400, with the field that is wrong.
    """
    try:
        body = _Body.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        if not where:
            words = f"The body is no JSON object: {first['msg']}."
            raise ApiError(400, words, code="invalid_json") from error
        raise ApiError(400, f"{where}: {first['msg']}.", param=where) from error
    extra = body.model_extra or {}
    for name in _REFUSED:
        if extra.get(name):
            raise ApiError(
                400, f"A pair of agents answers in text; it takes no {name}.", param=name
            )
    for name, value, plain in (
        ("response_format", body.response_format, {"type": "text"}),
        ("modalities", body.modalities, ["text"]),
    ):
        if value is not None and value != plain:
            raise ApiError(400, "A pair of agents answers in text.", param=name)
    return Ask(
        body.model,
        _history(body.messages),
        body.max_completion_tokens or body.max_tokens,
        body.temperature or 0.0,
        body.seed,
        _stops(body.stop),
        bool(body.stream),
        body.stream_options is not None and body.stream_options.include_usage,
        body.waltzrl.drafts if body.waltzrl else None,
        tuple(sorted(name for name, value in extra.items() if value and name not in _HARMLESS)),
    )


def _stops(told: Any) -> tuple[str, ...]:
    stops = [told] if isinstance(told, str) else told or []
    fine = isinstance(stops, list) and len(stops) <= _MOST_STOPS
    if not fine or any(not isinstance(s, str) or len(s) > _LONGEST_STOP for s in stops):
        raise ApiError(
            400,
            f"stop is a text or up to {_MOST_STOPS} texts of {_LONGEST_STOP} characters at most.",
            param="stop",
        )
    return tuple(text for text in stops if text)


def _history(turns: list[_Turn]) -> list[Message]:
    told, history = [], []
    for number, turn in enumerate(turns):
        if (turn.model_extra or {}).get("tool_calls"):
            where = f"messages.{number}.tool_calls"
            raise ApiError(400, "A pair of agents calls no tools.", param=where)
        text = _text(turn.content, f"messages.{number}.content")
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


def _text(content: Any, where: str) -> str:
    parts = content if isinstance(content, list) else []
    for part in parts:
        if not isinstance(part, dict) or part.get("type") != "text":
            raise ApiError(400, "A pair of agents reads text only.", param=where)
    if not isinstance(content, str | list | None) or any(
        not isinstance(part.get("text"), str) for part in parts
    ):
        raise ApiError(400, "The content is neither text nor parts of text.", param=where)
    whole = SurrogateJoiner()
    return whole.feed(content_text(content)) + whole.rest()
