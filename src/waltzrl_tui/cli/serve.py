"""`serve`: pairs behind an OpenAI-compatible endpoint."""

from __future__ import annotations

import asyncio
from datetime import datetime

from waltzrl_tui.cli.addresses import check_variable
from waltzrl_tui.cli.command import Context
from waltzrl_tui.errors import UsageError, WaltzError
from waltzrl_tui.keys import find_key
from waltzrl_tui.local.live import ensure_base
from waltzrl_tui.store import Store
from waltzrl_tui.text import on_this_machine


async def serve(context: Context) -> int:
    """`serve --pair NAME … [--host H] [--port N] [--key-env VAR]`, until a signal ends it."""
    # aiohttp takes a third of a second to import.
    from waltzrl_tui.serve.server import PairServer, Settings, is_loopback

    args = context.args
    key = await asyncio.to_thread(_key, args.key_env)
    if not is_loopback(args.host) and not key:
        raise UsageError(
            f"At {args.host} others could ask the pair, and no key is asked for.",
            hint="Put a key into a variable and name it with --key-env, or serve on 127.0.0.1.",
        )
    async with context.store() as store, context.engines() as engines:
        await ensure_base(store)
        rows = [await store.agents.get_pair(name) for name in dict.fromkeys(args.pair)]
        for words in await _billed(store, [row.name for row in rows]):
            context.out.say(words)
        pairs = {row.name: await engines.pair(store, row.name) for row in rows}
        for live in pairs.values():
            context.out.status.set(f"getting {live.name} ready")
            await engines.warm(live)
        created = {
            row.name: int(datetime.fromisoformat(row.created_at).timestamp()) for row in rows
        }
        server = PairServer(
            pairs, created, Settings(key=key, drafts=args.drafts, max_tokens=args.max_tokens)
        )
        try:
            port = await server.start(args.host, args.port)
        except OSError as error:
            raise WaltzError(
                f"{args.host}:{args.port} cannot be listened at: {error.strerror or error}.",
                hint="Choose another --port, or --port 0 for one that is free.",
            ) from error
        host = f"[{args.host}]" if ":" in args.host else args.host
        url = f"http://{host}:{port}/v1"
        names = ", ".join(pairs)
        context.out.result(
            {"url": url, "pairs": list(pairs), "key_env": args.key_env},
            f"{names} at {url}\nAsk it as the model {next(iter(pairs))!r}; ctrl+c ends it.",
        )
        tally = server.tally
        tally.changed = lambda: context.out.status.set(
            f"{tally.running} running, {tally.answered} answered, {tally.failed} failed"
        )
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            # A signal is how it ends.
            if (task := asyncio.current_task()) is not None:
                task.uncancel()
        finally:
            await server.stop()
    return 0


def _key(variable: str) -> str:
    check_variable("--key-env", variable)
    if not variable:
        return ""
    if key := find_key(variable):
        return key
    raise UsageError(
        f"{variable} holds no key.",
        hint=f"Set {variable} in the environment, or: waltzrl-tui doctor --set-key {variable}",
    )


async def _billed(store: Store, names: list[str]) -> list[str]:
    """A line for each agent that answers elsewhere, where it may cost something."""
    lines: dict[str, None] = {}
    for name in names:
        pair = await store.agents.get_pair(name)
        for agent in filter(None, (pair.conversation, pair.feedback)):
            row = await store.agents.get(agent)
            if row.kind != "embedded" and not on_this_machine(row.url):
                lines[
                    f"each request asks {row.name} ({row.base} at {row.url}), which may bill it"
                ] = None
    return list(lines)
