"""What chat endpoints answered, by content, and what their tokens cost."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from waltzrl_tui.store.database import Database
from waltzrl_tui.store.json_text import storable
from waltzrl_tui.store.rows import now


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer of an endpoint.

    Attributes:
        tokens, prompt_tokens: As the endpoint counted what it wrote and read; None if it did not.
        seconds: From the request to the last token, `first_seconds` to the first one.
        finish: Why it ended, in the server's words; "" where it did not say. None: it was kept by a
            version that noted no reason and took thinking for a part of the text.
    """

    text: str
    tokens: int | None
    prompt_tokens: int | None
    seconds: float
    first_seconds: float | None = None
    finish: str | None = ""


@dataclass(frozen=True, slots=True)
class Price:
    """USD per 1M tokens read and written."""

    usd_in: float
    usd_out: float

    def usd(self, read: int, written: int) -> float:
        """What so many tokens cost, USD."""
        return (read * self.usd_in + written * self.usd_out) / 1e6


@dataclass(frozen=True, slots=True)
class Quote:
    """A stored price.

    Attributes:
        as_of: Its time, as the store writes times; "" if unknown.
        source: Address of the price list; "" for the user.
    """

    price: Price
    as_of: str
    source: str = ""


INSERT: Final = (
    "INSERT OR REPLACE INTO answers (key, at, text, tokens, prompt_tokens, seconds, first_seconds,"
    " finish) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
"""Keeps one of `answer_rows`."""


def answer_rows(answers: Iterable[tuple[str, Answer]]) -> list[tuple[object, ...]]:
    """Answers under their keys as rows of the table, stamped now."""
    at = now()
    return [
        (
            *(key, at, storable(each.text), each.tokens, each.prompt_tokens),
            *(each.seconds, each.first_seconds, each.finish and storable(each.finish)),
        )
        for key, each in answers
    ]


class AnswerStore:
    """Reads and writes of answers and prices."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, key: str) -> Answer | None:
        """The answer that is kept under `key`, or None."""

        def work(connection: sqlite3.Connection) -> Answer | None:
            row = connection.execute(
                "SELECT text, tokens, prompt_tokens, seconds, first_seconds, finish FROM answers"
                " WHERE key = ?",
                (key,),
            ).fetchone()
            return None if row is None else Answer(*row)

        return await self._database.read(work)

    async def keys(self) -> frozenset[str]:
        """The keys of all answers that are kept."""
        return await self._database.read(
            lambda connection: frozenset(
                row[0] for row in connection.execute("SELECT key FROM answers")
            )
        )

    async def add(self, answers: Iterable[tuple[str, Answer]]) -> None:
        """Keep answers, all in one transaction."""
        rows = answer_rows(answers)
        await self._database.write(lambda connection: connection.executemany(INSERT, rows))

    async def set_price(self, agent: str, price: Price, source: str = "") -> Quote:
        """Keep what the tokens of an agent cost. It goes with the agent.

        Args:
            source: Address of the price list; "" for the user.
        """
        quote = Quote(price, now(), source)

        def work(connection: sqlite3.Connection) -> Quote:
            connection.execute(
                "INSERT OR REPLACE INTO agent_prices (agent, usd_in, usd_out, as_of, source)"
                " VALUES (?, ?, ?, ?, ?)",
                (agent, price.usd_in, price.usd_out, quote.as_of, source),
            )
            return quote

        return await self._database.write(work)

    async def quotes(self) -> dict[str, Quote]:
        """The prices that are known, by agent, with when and by whom they were said."""
        rows = await self._database.select(
            "SELECT agent, usd_in, usd_out, as_of, source FROM agent_prices", (), lambda _, row: row
        )
        return {row[0]: Quote(Price(row[1], row[2]), row[3], row[4]) for row in rows}

    async def prices(self) -> dict[str, Price]:
        """The prices that are known, by agent."""
        return {agent: quote.price for agent, quote in (await self.quotes()).items()}
