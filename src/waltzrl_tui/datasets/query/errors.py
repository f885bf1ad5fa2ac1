"""Errors about expressions, with a hint at the fix."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Final

from waltzrl_tui.datasets.query.columns import QueryColumn
from waltzrl_tui.errors import DatasetError, UsageError
from waltzrl_tui.text import one_line

_LISTED: Final = 300
_UNKNOWN: Final = re.compile(r'column (?:named )?"((?:[^"]|"")*)"', re.I)
_NEAR: Final = re.compile(r'at or near "((?:[^"]|"")*)"')
_CLOSED: Final = re.compile(r"^LINE \d+: \)", re.M)
_FUNCTION: Final = re.compile(r'Function with name "?([^"\s]+)"? does not exist', re.I)
_KINDS: Final = {"VARCHAR": "text", "JSON": "text", "DOUBLE": "a number"}


class UnfinishedExpression(UsageError):
    """The expression ends too early, as it does while it is being typed."""

    def __init__(self, columns: Sequence[QueryColumn]) -> None:
        super().__init__("The expression is not finished.", hint=list_columns(columns))


def explain_error(error: Exception, expression: str, columns: Sequence[QueryColumn]) -> UsageError:
    """DuckDB's error about `expression`, rewritten for the user."""
    text = str(error)
    if "aggregate" in text:
        return UsageError(
            "The expression aggregates over rows.", hint="It is evaluated on one row at a time."
        )
    if match := _UNKNOWN.search(text):
        return _unknown_column(match[1].replace('""', '"'), expression, columns)
    if "end of input" in text:
        return UnfinishedExpression(columns)
    if match := _NEAR.search(text):
        word = match[1].replace('""', '"')
        if _CLOSED.search(text):  # The bracket that the query itself adds after the expression.
            return UnfinishedExpression(columns)
        return UsageError(
            f"The expression is wrong at “{one_line(word, 40)}”.", hint=list_columns(columns)
        )
    if match := _FUNCTION.search(text):
        return UsageError(
            f"There is no function “{one_line(match[1], 40)}”.",
            hint=_functions(text),
        )
    message = text.splitlines()[0] if text else "DuckDB cannot parse it"
    message = re.sub(r"^[A-Za-z ]+ Error: ", "", message)
    return UsageError(
        f"The expression is wrong: {one_line(message, 160)}", hint=list_columns(columns)
    )


def not_a_condition(expression: str, kind: str) -> UsageError:
    """The error about an expression that is neither true nor false."""
    is_a = _KINDS.get(kind, "a number" if "INT" in kind else f"of the type {kind}")
    return UsageError(
        f"“{one_line(expression, 60)}” is {is_a}, not a condition.",
        hint="Compare it with something, as in harm = 'benign' or tokens > 100.",
    )


def no_room(error: Exception) -> DatasetError:
    """The error about values that fit neither into memory nor into temporary files."""
    message = str(error).splitlines()[0] if str(error) else type(error).__name__
    return DatasetError(
        f"Not enough space to sort the rows: {one_line(message, 160)}",
        hint="Free some, or point TMPDIR at a folder that has more. Numbers need less than text.",
    )


def list_columns(columns: Sequence[QueryColumn]) -> str:
    """The columns, in a sentence."""
    names = ", ".join(column.quoted for column in columns)
    return f"Columns: {one_line(names, _LISTED)}."


def _functions(text: str) -> str:
    meant = re.search(r'Did you mean "([^"]+)"', text)
    some = "length, lower, contains, regexp_matches, starts_with"
    guess = f"Did you mean {one_line(meant[1], 40)}? " if meant else ""
    return f"{guess}Some functions: {some}."


def _unknown_column(word: str, expression: str, columns: Sequence[QueryColumn]) -> UsageError:
    shown = one_line(word, 40)
    message = f"No column “{shown}”."
    close = get_close_matches(word.casefold(), [one.name.casefold() for one in columns], n=1)
    if close:
        name = next(one.quoted for one in columns if one.name.casefold() == close[0])
        message = f"{message} Did you mean {name}?"
    elif f'"{word}"' in expression:
        message = f"{message[:-1]}; text goes in single quotes: '{shown}'."
    return UsageError(message, hint=list_columns(columns))
