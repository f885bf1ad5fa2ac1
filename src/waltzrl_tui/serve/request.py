"""Chat completion requests in OpenAI's format, reduced to what a pair can answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from waltzrl_tui.endpoints.response_text import SurrogateJoiner, content_text
from waltzrl_tui.records.messages import Message
from waltzrl_tui.serve.errors import ApiError

_HARMLESS: Final = frozenset({"user", "metadata", "store", "safety_identifier", "service_tier"})
_UNSUPPORTED: Final = ("tools", "functions", "audio", "logprobs", "top_logprobs", "logit_bias")
_MAX_STOPS: Final = 16
_MAX_STOP_CHARACTERS: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """A request that a pair can answer.

    Attributes:
        model: The pair's name.
        history: The turns, the user's last. System messages are prepended to the first user turn,
            as the agents have system prompts of their own.
        max_tokens: Cap of the reply; None for the server's default.
        stops: Texts that end the reply.
        usage: Whether a stream ends with a chunk of token counts.
        drafts: Whether a stream reports drafts and verdicts; None for the server's default.
        ignored: Fields that are set, and that a pair cannot follow.
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


class _RequestPart(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")


class _Turn(_RequestPart):
    role: Literal["system", "developer", "user", "assistant"]
    content: Any = None


class _StreamOptions(_RequestPart):
    include_usage: bool = False


class _WaltzOptions(_RequestPart):
    drafts: bool | None = None


class _Body(_RequestPart):
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
    waltzrl: _WaltzOptions | None = None


def read_request(raw: bytes) -> ChatRequest:
    """Parse and check the body of a POST.

    Raises:
        ApiError: 400, with the invalid field.
    """
    try:
        body = _Body.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        if not where:
            message = f"The body is not a JSON object: {first['msg']}."
            raise ApiError(400, message, code="invalid_json") from error
        raise ApiError(400, f"{where}: {first['msg']}.", param=where) from error
    extra = body.model_extra or {}
    for name in _UNSUPPORTED:
        if extra.get(name):
            raise ApiError(
                400, f"A pair of agents replies in text and does not support {name}.", param=name
            )
    for name, value, text_only in (
        ("response_format", body.response_format, {"type": "text"}),
        ("modalities", body.modalities, ["text"]),
    ):
        if value is not None and value != text_only:
            raise ApiError(400, "A pair of agents replies in text only.", param=name)
    return ChatRequest(
        model=body.model,
        history=_history(body.messages),
        max_tokens=body.max_completion_tokens or body.max_tokens,
        temperature=body.temperature or 0.0,
        seed=body.seed,
        stops=_stops(body.stop),
        stream=bool(body.stream),
        usage=body.stream_options is not None and body.stream_options.include_usage,
        drafts=body.waltzrl.drafts if body.waltzrl else None,
        ignored=tuple(sorted(name for name in extra if extra[name] and name not in _HARMLESS)),
    )


def _stops(value: Any) -> tuple[str, ...]:
    stops = [value] if isinstance(value, str) else value or []
    valid = isinstance(stops, list) and len(stops) <= _MAX_STOPS
    if not valid or any(
        not isinstance(stop, str) or len(stop) > _MAX_STOP_CHARACTERS for stop in stops
    ):
        raise ApiError(
            400,
            f"stop must be a text, or up to {_MAX_STOPS} texts, of at most "
            f"{_MAX_STOP_CHARACTERS} characters.",
            param="stop",
        )
    return tuple(text for text in stops if text)


def _history(turns: list[_Turn]) -> list[Message]:
    system_texts, history = [], []
    for number, turn in enumerate(turns):
        if (turn.model_extra or {}).get("tool_calls"):
            where = f"messages.{number}.tool_calls"
            raise ApiError(400, "A pair of agents does not call tools.", param=where)
        text = _text(turn.content, f"messages.{number}.content")
        if turn.role in ("system", "developer"):
            system_texts.append(text)
        else:
            history.append({"role": turn.role, "content": text})
    if not history or history[-1]["role"] != "user":
        raise ApiError(400, "The last message must be the user's.", param="messages")
    if not history[-1]["content"].strip():
        raise ApiError(400, "The user's message is empty.", param="messages")
    if system_texts:
        first = next(turn for turn in history if turn["role"] == "user")
        first["content"] = "\n\n".join([*system_texts, first["content"]])
    return history


def _text(content: Any, where: str) -> str:
    parts = content if isinstance(content, list) else []
    for part in parts:
        if not isinstance(part, dict) or part.get("type") != "text":
            raise ApiError(400, "A pair of agents reads text only.", param=where)
    if not isinstance(content, str | list | None) or any(
        not isinstance(part.get("text"), str) for part in parts
    ):
        raise ApiError(400, "The content must be text or parts of text.", param=where)
    whole = SurrogateJoiner()
    return whole.feed(content_text(content)) + whole.rest()
