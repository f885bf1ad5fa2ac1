"""The dialog of hosted models that must be deployed to chat: which are up and what they cost."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from waltzrl_tui.errors import WaltzError
from waltzrl_tui.remote.deploy import IDLE_MINUTES, cost_usd
from waltzrl_tui.store import AgentRow
from waltzrl_tui.store.remote_rows import DeploymentRow
from waltzrl_tui.text import one_line
from waltzrl_tui.tui.dialogs.confirm import ConfirmScreen
from waltzrl_tui.tui.dialogs.dialog import Dialog
from waltzrl_tui.words import NONE, money, plural

if TYPE_CHECKING:
    from waltzrl_tui.tui.shell.app import WaltzApp

_REFRESH_SECONDS: Final = 1.0
_NO_AGENTS: Final = (
    "No agent needs a deployment.\n"
    "Agents trained at Together, Fireworks or Bedrock do and are listed here."
)


@dataclass(frozen=True, slots=True)
class _HostedModel:
    agent: str
    row: DeploymentRow | None


class DeploymentsScreen(Dialog[None]):
    """One line for each agent or deployment, with its running cost while it is up."""

    BINDINGS = [
        Binding("escape,u,q", "leave", "close"),
    ]

    def __init__(self, app: WaltzApp) -> None:
        super().__init__()
        self._waltz = app
        self._entries: list[_HostedModel] = []

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog") as box:
            box.border_title = "Models up for chat"
            box.border_subtitle = "enter up or down · esc close"
            yield OptionList(id="deployments", compact=True)
            yield Static(id="deployments-summary")

    async def on_mount(self) -> None:
        await self._refresh_list()
        self.set_interval(_REFRESH_SECONDS, self._refresh_list)
        self.query_one(OptionList).focus()

    async def _refresh_list(self) -> None:
        if self._waltz._store is None:
            return
        store = self._waltz.store
        rows = [row for row in await store.deployments.list() if row.ended_at is None]
        agents = [agent for agent in await store.agents.list() if agent.kind == "hosted"]
        deployed = {row.agent for row in rows}
        self._entries = [
            *(_HostedModel(row.agent or row.model, row) for row in rows),
            *(_HostedModel(agent.name, None) for agent in agents if agent.name not in deployed),
        ]
        shown = self.query_one(OptionList)
        at = shown.highlighted
        lines = [_line(entry) for entry in self._entries]
        if shown.option_count != len(lines):
            shown.clear_options()
            shown.add_options([Option(line) for line in lines])
            shown.highlighted = min(at or 0, len(lines) - 1) if lines else None
        else:
            for index, line in enumerate(lines):
                shown.replace_option_prompt_at_index(index, line)
        summary = _NO_AGENTS if not lines else _total(rows)
        self.query_one("#deployments-summary", Static).update(
            Content.styled(summary, "$text-muted")
        )

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        entry = self._entries[event.option_index]
        if entry.row is None:
            text = (
                "The provider bills it while it is up, even when idle. It is taken down after "
                f"{IDLE_MINUTES:g} minutes without a chat, and you are reminded when you leave "
                "the app."
            )
            ask = ConfirmScreen(f"Bring {entry.agent} up?", text, [("y", "bring it up")])
        else:
            cost = cost_usd(entry.row)
            so_far = f"It has cost {money(cost)} so far." if cost is not None else ""
            ask = ConfirmScreen(f"Take {entry.agent} down?", so_far, [("y", "take it down")])
        self.app.push_screen(ask, partial(self._confirmed, entry))

    def _confirmed(self, entry: _HostedModel, key: str | None) -> None:
        if key == "y":
            self.run_worker(self._switch(entry), group="deployments")

    async def _switch(self, entry: _HostedModel) -> None:
        try:
            remote = await self._waltz.remote()
            if entry.row is not None:
                await remote.deployments.take_down(entry.row.tag, "taken down by hand")
            else:
                agent: AgentRow = await self._waltz.store.agents.get(entry.agent)
                await remote.deployments.bring_up(agent)
                remote.start()
        except WaltzError as error:
            self._waltz.report(error)
        await self._refresh_list()


def _line(entry: _HostedModel) -> Content:
    row = entry.row
    if row is None:
        return Content.assemble(
            ("○ ", "$faint"), f"{one_line(entry.agent, 30):<30} ", ("not up", "$text-muted")
        )
    good = row.state == "ready"
    price = "price not known" if row.usd_per_hour is None else f"{money(row.usd_per_hour)}/h"
    so_far = money(cost_usd(row), unknown=NONE)
    return Content.assemble(
        ("● " if good else "◌ ", "$success" if good else "$warning"),
        f"{one_line(entry.agent, 30):<30} ",
        (f"{'up' if good else row.state:<9}", "bold $foreground"),
        (f"{price:>12} {so_far:>10}  ", "$foreground"),
        (f"{one_line(row.provider, 14)} {one_line(row.words, 60)}", "$text-muted"),
    )


def _total(rows: list[DeploymentRow]) -> str:
    known = [cost for row in rows if (cost := cost_usd(row)) is not None]
    if not rows:
        return "None is up; nothing is billed."
    return f"{len(rows)} up, about {money(sum(known))} so far."


async def ask_before_leaving(app: Any, rows: list[DeploymentRow]) -> bool:
    """Ask what to do with models that are up; takes them down if asked to.

    Returns:
        Whether to leave the app.
    """
    per_hour = sum(row.usd_per_hour or 0.0 for row in rows)
    price = f" at {money(per_hour)}/h" if per_hour else ""
    names = ", ".join(one_line(row.agent or row.model, 40) for row in rows)
    key = await app.push_screen_wait(
        ConfirmScreen(
            f"{plural(len(rows), 'model')} up and billed{price}",
            f"{names}\nIdle models are not taken down while the app is closed.",
            [("d", "take down and leave"), ("l", "leave them up")],
        )
    )
    if key == "d":
        remote = await app.remote()
        for row in rows:
            try:
                await remote.deployments.take_down(row.tag, "taken down on leaving")
            except WaltzError as error:
                app.report(error)
                return False
    return key in ("d", "l")
