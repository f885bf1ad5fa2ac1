"""The Plan screen: what training the agents costs at every provider, as the user types."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Final

from textual import events, on
from textual.app import App, ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.css.query import NoMatches
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Static

from waltzrl_tui.errors import DatasetError, UsageError, WaltzError
from waltzrl_tui.plans.model import PlanSettings
from waltzrl_tui.records.providers import EMBEDDED
from waltzrl_tui.text import one_line, printable
from waltzrl_tui.tui.data.model import SamplePlan
from waltzrl_tui.tui.data.sample import SamplePane
from waltzrl_tui.tui.plan import lines
from waltzrl_tui.tui.plan.breakdown import load_layout, row_counts, sum_layout
from waltzrl_tui.tui.plan.compare import PINNED, compare_layout
from waltzrl_tui.tui.plan.export import ask_and_export
from waltzrl_tui.tui.plan.form import PlanForm
from waltzrl_tui.tui.plan.model import Plan, PlanModel
from waltzrl_tui.tui.plan.probe import Probing
from waltzrl_tui.tui.plan.sheet import SheetPane
from waltzrl_tui.tui.shell.background import from_thread
from waltzrl_tui.tui.shell.keys import bindings, press
from waltzrl_tui.tui.shell.screen import WaltzScreen
from waltzrl_tui.tui.tables.keyed_table import KeyedTable, TableRow
from waltzrl_tui.words import plural

_SLOW_SECONDS: Final = 0.3
_TYPED_SECONDS: Final = 0.6
_TRAINED: Final = "What is trained"
_DATA: Final = press("show('data')", "plan")


class PlanScreen(WaltzScreen):
    """The run on the left, a line per provider on the right, its cost breakdown below."""

    NAME = "plan"
    CSS_PATH = "plan.tcss"
    BINDINGS = bindings("plan")
    AUTO_FOCUS = "KeyedTable"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (76, "-small"), (110, "-medium"), (150, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-short"), (22, "-tall")]

    def __init__(self) -> None:
        super().__init__()
        self._model = PlanModel()
        self._load = SheetPane(id="plan-load")
        self._table = KeyedTable(lines.columns([], 80), self._line, id="plan-table").add_class(
            "pane"
        )
        self._detail = SheetPane(id="plan-detail")
        self._note = Static(id="plan-note", markup=False)
        self._refreshing = False
        self._typed: Timer | None = None
        self._probing = Probing()

    def compose_body(self) -> ComposeResult:
        self._form = PlanForm()
        with Horizontal(id="plan"):
            with Vertical(id="plan-side"):
                yield self._form
                yield self._load
            with Vertical(id="plan-main"):
                yield self._table
                yield self._note
                yield self._detail

    def on_mount(self) -> None:
        self._load.border_title = _TRAINED
        self._detail.border_title = "Breakdown"
        self.add_class("-empty")

    # What is planned -------------------------------------------------------------------------

    @on(events.ScreenResume)
    def _came(self) -> None:
        self.start(self._read(), group="plan", exclusive=True)

    async def _read(self) -> None:
        model, waltz = self._model, self.waltz
        before = model.sample
        # Shown only when it takes long: most datasets are measured within the blink of an eye.
        slow = self.set_timer(_SLOW_SECONDS, partial(self._progress, 0))
        try:
            news, _ = await asyncio.gather(
                model.take(_sample_on_data(waltz) or before, waltz.workspace),
                model.read_environment(waltz.store, waltz.workspace),
            )
            sample = model.sample
            if news and sample is not None:
                self._form.name_dataset(Path(sample.recipe.source).name)
                if before is None or before.recipe != sample.recipe:
                    self._form.set_rows(sample.recipe.n)
                await model.measure(from_thread(self._progress))
        except WaltzError as error:
            more = ""
            if isinstance(error, UsageError):
                more = f"\n\n{_DATA} Data changes the sample."
            elif isinstance(error, DatasetError):
                more = f"\n\n{_DATA} Data chooses another dataset."
            self._say(f"✗ {error.message}\n{error.hint}{more}")
            return
        finally:
            slow.stop()
        if model.whole is not None:
            self._form.offer_agents(model.whole.roles)
        self._form.offer_models(model.models)
        self._reprice()
        self.start(self._probe(), group="probe")
        await self._refine()

    async def _probe(self) -> None:
        """Ask the providers that have a key set whether it works and may fine-tune."""
        names = self._probing.wanted(self._model.with_keys(_launchable()))
        if not names:
            return
        probing = asyncio.ensure_future(self._probing.ask(self.waltz, names))
        self._paint_detail(top=False)
        await probing
        await self._model.read_environment(self.waltz.store, self.waltz.workspace)
        self._reprice()

    def _progress(self, rows: int) -> None:
        if not self._model.ready:
            path = self._model.path
            name = one_line(path.name, 60) if path else "the price list"
            self._say(f"reading {name}… {plural(rows, 'row') if rows else ''}")

    def _say(self, text: str) -> None:
        """Show a message in place of the table."""
        self.add_class("-empty")
        self._model.plans = {}
        self._form.say("")
        self._load.show(lambda _: [], title=_TRAINED, top=True)
        self.refresh_bindings()
        self._note.update(printable(text.strip()))

    @on(PlanForm.Changed)
    def _asked(self) -> None:
        self._reprice()
        if self._typed is not None:
            self._typed.stop()
        self._typed = self.set_timer(_TYPED_SECONDS, self._stopped_typing)

    def _stopped_typing(self) -> None:
        self.start(self._refine(), group="refine", exclusive=True)

    async def _refine(self) -> None:
        """Count the rows of the sample exactly, in place of the average of all rows."""
        try:
            rows = self._form.rows
        except UsageError:
            return
        if self._model.ready and await self._model.refine(rows):
            self._reprice()

    def _reprice(self) -> None:
        """Price all plans and show them."""
        model = self._model
        if not model.ready:
            return
        try:
            rows, settings = self._form.rows, self._form.settings
        except UsageError as error:
            self._form.say(Content.styled(f"✗ {error.message}", "$text-error"))
            return
        workload = model.reprice(rows, settings)
        self._form.say(row_counts(workload))
        self._load.show(load_layout(workload, settings.roles), title=_TRAINED, top=False)
        self._paint()

    # What is shown ---------------------------------------------------------------------------

    @property
    def _plan(self) -> Plan | None:
        """The plan at the cursor."""
        return self._model.plans.get(self._table.selected or "")

    @property
    def waste_settings(self) -> PlanSettings | None:
        """The run that waste is priced for: at the provider under the cursor, if it costs money."""
        plan = self._plan
        if plan is None:
            return None
        paid = plan.row.total is not None and plan.row.total.expected > 0
        return replace(plan.settings, provider=plan.row.provider if paid else "")

    def _paint(self) -> None:
        table = self._table
        first = self.has_class("-empty")
        self.remove_class("-empty")
        rows = self._model.rows
        width = table.scrollable_content_region.width
        table.set_columns(lines.columns(rows, width or self.size.width))
        table.show(list(self._model.plans))
        table.update()
        settings = next(iter(self._model.plans.values())).settings if rows else None
        if settings is not None:
            title = lines.title(settings.chat_hours, settings.method, rows, table.size.width)
            _entitle(table, title)
        self._paint_detail(top=False)
        if first and self.focused is None:
            table.focus()

    def _line(self, id: str) -> TableRow:
        pinned = self._model.pinned is not None and self._model.pinned[0] == id
        environment = self._model.environment
        assert environment is not None  # There are no rows before it is read.
        width = self._table.scrollable_content_region.width
        return lines.line(
            self._model.plans[id].row, self._model.highest_usd, width, pinned, environment.today
        )

    def _paint_detail(self, *, top: bool) -> None:
        plan, environment = self._plan, self._model.environment
        if plan is not None and environment is not None:
            name = one_line(plan.row.title)
            if self._model.pinned is not None:
                layout = compare_layout(self._model.pinned[1], plan)
                title = (
                    f"Compare · {PINNED} {one_line(self._model.pinned[1].row.title)} with ▸ {name}"
                )
            else:
                launches = plan.row.provider in _launchable()
                asking = plan.row.provider in self._probing.under_way
                layout = sum_layout(
                    plan.row,
                    plan.workload,
                    environment.today,
                    launches=launches,
                    account="asking…" if asking else environment.probes.get(plan.row.provider),
                )
                title = f"Breakdown · {name} · {one_line(plan.row.model)}".removesuffix(" · ")
            self._detail.show(layout, title=title, top=top)
        self.refresh_bindings()

    @on(KeyedTable.Moved)
    def _selected(self) -> None:
        # The line that had the cursor before is painted by the table itself.
        self._paint_detail(top=True)

    @on(KeyedTable.Scrolled)
    def _resized(self) -> None:
        if self._model.plans:
            self._paint()

    # Keys ------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        plan = self._plan
        match action:
            case "train":
                if plan is None or self.focused is not self._table:
                    return False
                return plan.row.state == "ready" and plan.row.provider in _launchable()
            case "compare":
                return plan is not None and self._model.pinned is None
            case "end_compare":
                return self._model.pinned is not None
            case "detail" | "export":
                return plan is not None
            case "refresh_prices":
                return not self._refreshing
            case "back":
                away = self.focused not in (None, self._table)
                return away or self._model.pinned is not None or self.has_class("-reading")
        return True

    @on(events.DescendantFocus)
    def _keys_changed(self) -> None:
        self.refresh_bindings()

    def action_edit(self) -> None:
        self.remove_class("-reading")
        self.add_class("-side")
        self.set_focus(self._form.first)

    def action_detail(self) -> None:
        self.remove_class("-side")
        self.toggle_class("-reading")
        self.set_focus(self._detail if self.has_class("-reading") else self._table)
        self.refresh_bindings()

    def action_back(self) -> None:
        if self.focused is self._table and not self.has_class("-reading"):
            self.action_end_compare()
        self.remove_class("-reading", "-side")
        self.set_focus(None if self.has_class("-empty") else self._table)
        self.refresh_bindings()

    def action_compare(self) -> None:
        plan = self._plan
        if plan is not None and self._table.selected:
            self._model.pin(self._table.selected)
            self._paint()

    def action_end_compare(self) -> None:
        self._model.pinned = None
        if self._model.plans:
            self._paint()

    # Leading on ------------------------------------------------------------------------------

    @on(KeyedTable.Chosen)
    def _opened(self) -> None:
        self.action_train() if self.check_action("train", ()) else self.action_detail()

    def action_train(self) -> None:
        self.start(self._train(), group="train", exclusive=True)

    async def _train(self) -> None:
        plan = self._plan
        if plan is None:
            return
        sample = self._model.sample_of(self._form.rows, plan.settings.roles)
        if sample is None:
            return
        if plan.row.provider == EMBEDDED:
            from waltzrl_tui.tui.data.train import ask_and_launch

            launched = await ask_and_launch(self.waltz, sample)
        else:
            from waltzrl_tui.tui.plan import launch

            launched = await launch.ask_and_launch(
                self.waltz, sample.recipe, plan.row, self._form.settings
            )
        if launched:
            self.waltz.action_show("jobs")

    def action_export(self) -> None:
        path = self._model.path
        if path is not None and self._model.plans:
            rows = self._model.rows
            self.start(ask_and_export(self.waltz, path, rows), group="export", exclusive=True)

    def action_refresh_prices(self) -> None:
        self.start(self._refresh(), group="refresh-prices", exclusive=True)

    async def _refresh(self) -> None:
        from waltzrl_tui.tui.plan.refresh import refresh_prices

        titles = {plan.row.provider: plan.row.title for plan in self._model.plans.values()}
        self._refreshing = True
        try:
            refreshed = await refresh_prices(self.waltz, titles, self._show_refreshing)
        finally:
            self._refreshing = False
            self.refresh_bindings()
        if refreshed:
            self._probing.forget()
            self.start(self._probe(), group="probe")
            await self._model.read_environment(self.waltz.store, self.waltz.workspace)
            self._reprice()

    def _show_refreshing(self, how_far: str) -> None:
        self._table.border_subtitle = how_far


def _sample_on_data(app: App[None]) -> SamplePlan | None:
    """The sample chosen on the Data screen, None before it was opened."""
    try:
        below, *_ = app.get_screen_stack("data")
        return below.query_one(SamplePane).plan()
    except (KeyError, ValueError, NoMatches, UsageError):
        return None


@cache
def _launchable() -> frozenset[str]:
    """The providers that a launch can go to from here."""
    from waltzrl_tui.providers.registry import provider_names

    return frozenset({EMBEDDED, *provider_names()})


def _entitle(pane: Widget, title: str) -> None:
    # A pane whose title is set is painted as a whole, the same title or not.
    if pane.border_title != title:
        pane.border_title = title
