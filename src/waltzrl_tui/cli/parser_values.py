"""The values that options take, as argparse types; each error says what is expected."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable


def number(kind: Callable[[str], float], text: str, low: float, high: float, words: str) -> float:
    try:
        value = kind(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise argparse.ArgumentTypeError(f"{text!r} is not {words}")
    return value


def count(text: str) -> int:
    return int(number(int, text, 1, 10**9, "a whole number of 1 or more"))


def zero_or_more(text: str) -> int:
    return int(number(int, text, 0, 1000, "a whole number from 0 to 1000"))


def port(text: str) -> int:
    return int(number(int, text, 0, 65535, "a port from 0 to 65535"))


def share(text: str) -> float:
    return number(float, text, 0, 0.5, "a share from 0 to 0.5")


def above_zero(text: str) -> float:
    return number(float, text, 1e-6, 1e6, "a number above 0")


def hours(text: str) -> float:
    return number(float, text, 0, 10_000, "hours from 0 to 10000")


def two_prices(text: str) -> tuple[float, float]:
    read, _, written = text.partition(",")
    return usd(read), usd(written)


def usd(text: str) -> float:
    return number(float, text, 0, 1e9, "an amount of 0 or more")


def agent_limit(text: str) -> tuple[str, int]:
    """`AGENT=N`."""
    name, value = _agent_value(text, "AGENT=N")
    return name, count(value)


def agent_prices(text: str) -> tuple[str, tuple[float, float]]:
    """`AGENT=IN,OUT`, in USD per 1M tokens."""
    name, value = _agent_value(text, "AGENT=IN,OUT")
    return name, two_prices(value)


def _agent_value(text: str, form: str) -> tuple[str, str]:
    name, _, value = text.rpartition("=")
    if not name:
        raise argparse.ArgumentTypeError(f"{text!r} is not {form}")
    return name, value
