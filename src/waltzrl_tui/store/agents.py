"""Agents, and the pairs they form."""

from __future__ import annotations

import sqlite3
from dataclasses import astuple, replace
from difflib import get_close_matches

from waltzrl_tui.errors import NotFoundError, UsageError
from waltzrl_tui.records.roles import Role
from waltzrl_tui.store.database import Database
from waltzrl_tui.store.paths import path_from_store, path_to_store
from waltzrl_tui.store.rows import AgentKind, AgentRow, PairRow, now
from waltzrl_tui.text import one_line, printable

_NAME_LIMIT = 80


class AgentStore:
    """Reads and writes of agents and pairs. Agents and pairs have names of their own each."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(
        self,
        name: str,
        *,
        role: Role,
        kind: AgentKind = "embedded",
        base: str,
        adapter: str = "",
        prompt: str = "",
        url: str = "",
        key_env: str = "",
        job_id: str = "",
    ) -> AgentRow:
        """Record an agent. `key_env` is the name of an environment variable, never a key.

        Raises:
            UsageError: The name is taken, or cannot be a name.
        """
        agent = AgentRow(
            name=name,
            role=role,
            kind=kind,
            base=base,
            adapter=adapter,
            prompt=prompt,
            url=url,
            key_env=key_env,
            job_id=job_id,
            created_at=now(),
        )
        _check_name(name, "agent")

        def work(connection: sqlite3.Connection) -> AgentRow:
            _require_free(connection, "agent", name)
            connection.execute(
                "INSERT INTO agents (name, role, kind, base, adapter, prompt, url, key_env,"
                " job_id, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                astuple(replace(agent, adapter=path_to_store(connection, adapter))),
            )
            return agent

        return await self._database.write(work)

    async def check_free(self, name: str) -> None:
        """See that an agent could be added under a name.

        Raises:
            UsageError: The name is taken, or cannot be a name.
        """
        _check_name(name, "agent")
        await self._database.read(lambda connection: _require_free(connection, "agent", name))

    async def get(self, name: str) -> AgentRow:
        """The agent of that name.

        Raises:
            NotFoundError: There is none; names that look alike are told.
        """
        return await self._database.read(
            lambda connection: _agent(connection, _require(connection, "agent", name))
        )

    async def remove(self, name: str) -> None:
        """Remove an agent; its adapter's files stay.

        Raises:
            NotFoundError: There is no such agent.
            UsageError: It is in a pair, which is named.
        """

        def work(connection: sqlite3.Connection) -> None:
            _require(connection, "agent", name)
            pair = connection.execute(
                "SELECT name FROM pairs WHERE ? IN (conversation, feedback)"
                " ORDER BY created_at LIMIT 1",
                (name,),
            ).fetchone()
            if pair is not None:
                raise UsageError(
                    f"The agent {one_line(name)} is in the pair {one_line(pair['name'])}.",
                    hint="Remove the pair first.",
                )
            connection.execute("DELETE FROM agents WHERE name = ?", (name,))

        await self._database.write(work)

    async def add_pair(
        self, name: str, *, conversation: str, feedback: str = "", rounds: int = 1
    ) -> PairRow:
        """Record a pair of agents, which waltz for up to `rounds` rounds.

        Raises:
            UsageError: The name is taken, or an agent is not of the role it would have here.
            NotFoundError: An agent is not in the store.
        """
        new_pair = PairRow(name, conversation, feedback, rounds, now())
        _check_name(name, "pair")
        if rounds < 0:
            raise UsageError(f"{rounds} is not a number of rounds.", hint="Give 0 or more.")

        def work(connection: sqlite3.Connection) -> PairRow:
            _require_free(connection, "pair", name)
            _require_role(connection, conversation, "conversation")
            if feedback:
                _require_role(connection, feedback, "feedback")
            connection.execute(
                "INSERT INTO pairs (name, conversation, feedback, rounds, created_at)"
                " VALUES (?, ?, ?, ?, ?)",
                (name, conversation, feedback or None, rounds, new_pair.created_at),
            )
            return new_pair

        return await self._database.write(work)

    async def get_pair(self, name: str) -> PairRow:
        """The pair of that name.

        Raises:
            NotFoundError: There is none; names that look alike are told.
        """
        return await self._database.read(
            lambda connection: _pair(_require(connection, "pair", name))
        )

    async def pairs(self) -> list[PairRow]:
        """The pairs, by age."""
        return await self._database.select(
            "SELECT * FROM pairs ORDER BY created_at, name", (), lambda _, row: _pair(row)
        )

    async def remove_pair(self, name: str) -> None:
        """Remove a pair; its agents stay.

        Raises:
            NotFoundError: There is no such pair.
        """

        def work(connection: sqlite3.Connection) -> None:
            _require(connection, "pair", name)
            connection.execute("DELETE FROM pairs WHERE name = ?", (name,))

        await self._database.write(work)

    async def free_name(self, base: str) -> str:
        """`base`, or the first of `base-2`, `base-3`, … that no agent and no pair has."""

        def work(connection: sqlite3.Connection) -> str:
            taken = {
                row["name"]
                for row in connection.execute(
                    "SELECT name FROM agents UNION SELECT name FROM pairs"
                )
            }
            name, number = base, 1
            while name in taken:
                number += 1
                name = f"{base}-{number}"
            return name

        return await self._database.read(work)

    async def list(self, *, role: Role | None = None) -> list[AgentRow]:
        """The agents (of one role), by age."""
        return await self._database.select(
            "SELECT * FROM agents WHERE role = coalesce(?, role) ORDER BY created_at, name",
            (role,),
            _agent,
        )


_TABLES = {"agent": "agents", "pair": "pairs"}


def _agent(connection: sqlite3.Connection, row: sqlite3.Row) -> AgentRow:
    return AgentRow(**{**dict(row), "adapter": path_from_store(connection, row["adapter"])})


def _pair(row: sqlite3.Row) -> PairRow:
    return PairRow(**{**dict(row), "feedback": row["feedback"] or ""})


def _check_name(name: str, what: str) -> None:
    if not name or name != name.strip() or "\n" in name or printable(name) != name:
        raise UsageError(
            f"{one_line(name)!r} cannot be the name of a {what}.",
            hint="Give one line of visible characters without spaces at either end.",
        )
    if len(name) > _NAME_LIMIT:
        raise UsageError(
            f"The name {one_line(name, 40)} is too long.", hint=f"Give at most {_NAME_LIMIT}."
        )


def _find(connection: sqlite3.Connection, what: str, name: str) -> sqlite3.Row | None:
    row: sqlite3.Row | None = connection.execute(
        f"SELECT * FROM {_TABLES[what]} WHERE name = ?", (name,)
    ).fetchone()
    return row


def _require(connection: sqlite3.Connection, what: str, name: str) -> sqlite3.Row:
    row = _find(connection, what, name)
    if row is not None:
        return row
    names = [row["name"] for row in connection.execute(f"SELECT name FROM {_TABLES[what]}")]
    alike = get_close_matches(name, names, n=3)
    hint = f"Did you mean {' or '.join(one_line(n) for n in alike)}?" if alike else ""
    if not hint:
        hint = f"See them with `waltzrl-tui {_TABLES[what]} list`."
    raise NotFoundError(f"There is no {what} {one_line(name)!r} in the store.", hint=hint)


def _require_free(connection: sqlite3.Connection, what: str, name: str) -> None:
    if _find(connection, what, name) is not None:
        raise UsageError(
            f"There is already {'an' if what == 'agent' else 'a'} {what} {one_line(name)}.",
            hint="Choose another name, or remove that one first.",
        )


def _require_role(connection: sqlite3.Connection, name: str, role: Role) -> None:
    agent = _require(connection, "agent", name)
    if agent["role"] != role:
        raise UsageError(
            f"The agent {one_line(name)} is a {agent['role']} agent, not a {role} agent.",
            hint=f"Choose a {role} agent for that side of the pair.",
        )
