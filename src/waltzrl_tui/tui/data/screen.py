"""The Data screen: files, rows, profile and sample, and the key that trains both agents."""

from __future__ import annotations

import asyncio
from pathlib import Path

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widget import Widget

from waltzrl_tui.datasets.profiling.figures import Profile
from waltzrl_tui.datasets.query.columns import query_columns
from waltzrl_tui.errors import DatasetError
from waltzrl_tui.text import printable
from waltzrl_tui.tui.data.columns import (
    ColumnChoice,
    HistogramDialog,
    SortDialog,
    Sorting,
    choices,
)
from waltzrl_tui.tui.data.detail import RowDetail
from waltzrl_tui.tui.data.files import FileList
from waltzrl_tui.tui.data.findings import FindingsDialog, findings, first_texts
from waltzrl_tui.tui.data.mapping import MappingDialog
from waltzrl_tui.tui.data.model import DataModel
from waltzrl_tui.tui.data.profile import ProfilePane
from waltzrl_tui.tui.data.sample import SamplePane
from waltzrl_tui.tui.data.sheet import ProfileDialog
from waltzrl_tui.tui.shell.keys import EMPTY, bindings
from waltzrl_tui.tui.shell.screen import WaltzScreen
from waltzrl_tui.tui.tables.lines import LineList
from waltzrl_tui.tui.tables.pages import OpenDataset
from waltzrl_tui.tui.tables.pane import TablePane
from waltzrl_tui.words import plural

_SLOW_SECONDS = 0.3


class DataScreen(WaltzScreen):
    """The datasets: files, rows, profile, and the form of the sample."""

    NAME = "data"
    BINDINGS = bindings("data")
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (76, "-small"), (100, "-medium"), (140, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-short"), (22, "-tall")]

    def __init__(self) -> None:
        super().__init__()
        self._ready = False

    def compose_body(self) -> ComposeResult:
        with Horizontal(id="data"):
            with Vertical(id="side"):
                yield FileList()
                yield ProfilePane()
                yield SamplePane()
            with Vertical(id="main"):
                yield TablePane()
                yield RowDetail()

    def on_mount(self) -> None:
        self._model = DataModel(self.waltz.store, self.waltz.workspace)
        self._table = self.query_one(TablePane)
        self._files = self.query_one(FileList)
        self._profile = self.query_one(ProfilePane)
        self._sample = self.query_one(SamplePane)
        self._detail = self.query_one(RowDetail)
        self._ready = True
        self._detail.clear()
        self.start(self._find_files(), group="files")

    async def on_unmount(self) -> None:
        if self._ready:
            await self._model.close()

    # Files -----------------------------------------------------------------------------------

    async def _find_files(self) -> None:
        try:
            files, first = await self._model.find_files()
        except DatasetError as error:
            self._table.fail(error, name="data")
            return
        self._files.show(files)
        if first is None:
            self._table.say(EMPTY["data.files"])
        else:
            self._open(first)

    def action_reload(self) -> None:
        self.start(self._reload(), group="files", exclusive=True)

    @on(events.ScreenResume)
    def _look_again(self) -> None:
        if self._ready and self._model.path is not None:
            self.action_reload()
            self._profile.reprice()  # Plan may have chosen another provider

    async def _reload(self) -> None:
        files, path = await self._model.look_again()
        self._files.show(files)
        if path is not None:
            self._open(path)

    @on(FileList.Opened)
    def _opened(self, event: FileList.Opened) -> None:
        self.remove_class("-side")
        self._open(event.path)
        self._table.rows.focus()

    def _open(self, path: Path) -> None:
        self.start(self._open_file(path), group="open", exclusive=True)

    async def _open_file(self, path: Path) -> None:
        self._table.clear()
        self._table.name_file(path.name)
        # Shown only when it takes long: most files open within the blink of an eye.
        slow = self.set_timer(_SLOW_SECONDS, lambda: self._table.say("reading…", name=path.name))
        self._show_in_panes(None)
        self._files.mark(path)
        try:
            await self._model.open(path)
        except DatasetError as error:
            self._table.fail(error, name=path.name)
            self._files.set_bad(path)
        finally:
            slow.stop()
        dataset = self._model.dataset
        if dataset is not None:
            self._table.show(dataset)
            self._show_in_panes(dataset)
            if self.focused is None:
                self._table.rows.focus()
        elif self.focused is None:
            self._files.focus()
        self.refresh_bindings()

    def _show_in_panes(self, dataset: OpenDataset | None) -> None:
        self._profile.use(dataset)
        self._sample.use(dataset)
        if dataset is None:
            self._detail.clear()

    @on(TablePane.Counted)
    def _counted(self, event: TablePane.Counted) -> None:
        self._files.set_rows(event.source.path, event.source.index.rows)
        if event.source is self._model.dataset:
            self._sample.suggest(event.source.index.rows)

    # Rows ------------------------------------------------------------------------------------

    @on(LineList.Moved, "#rows")
    def _moved(self) -> None:
        if self._model.dataset is not None:
            self.start(self._show_row(self._model.dataset), group="detail", exclusive=True)

    async def _show_row(self, dataset: OpenDataset) -> None:
        number = self._table.rows.line_number()
        if number is None:
            self._detail.clear()
        else:
            self._detail.show(number, *await asyncio.to_thread(dataset.row, number))

    @on(LineList.Chosen, "#rows")
    def action_detail(self) -> None:
        self.toggle_class("-reading")
        (self._detail if self.has_class("-reading") else self._table.rows).focus()
        self.refresh_bindings()

    def action_step(self, by: int) -> None:
        self._table.rows.cursor += by

    def action_filter(self) -> None:
        self._come_back()
        self._table.ask_filter()

    def action_goto(self) -> None:
        self._come_back()
        self._table.ask_row()

    def action_where(self) -> None:
        self._come_back()
        self._table.ask_filter(where=True)

    def action_bad_rows(self) -> None:
        self._come_back()
        if self._shows_bad():
            self._table.unfilter()
        else:
            self._table.show_bad()
        self._table.rows.focus()

    def _shows_bad(self) -> bool:
        return self._table.filter is not None and self._table.filter.kind == "bad"

    def action_findings(self) -> None:
        self.start(self._open_finding(), group="dialog")

    async def _open_finding(self) -> None:
        dataset, profile = self._model.dataset, self._profile.profile
        if dataset is None or profile is None:
            return
        rows = findings(profile)
        first = await asyncio.to_thread(first_texts, dataset, rows)
        dialog = FindingsDialog(profile, rows, first, await self._profile.priced())
        chosen = await self.app.push_screen_wait(dialog)
        if chosen is not None and dataset is self._model.dataset:
            self._come_back()
            self._table.show_lines(chosen.filter())

    def action_profile(self) -> None:
        if self._profile.profile is None:
            self._profile.toggle()
        else:
            self.start(self._show_profile(self._profile.profile), group="dialog")

    async def _show_profile(self, profile: Profile) -> None:
        if await self.app.push_screen_wait(ProfileDialog(profile, await self._profile.priced())):
            await self._open_finding()

    def action_sort(self) -> None:
        self.start(self._sort(), group="dialog")

    async def _sort(self) -> None:
        dataset, order = self._model.dataset, self._table.order
        if dataset is None:
            return
        now = Sorting(order.column, order.descending) if order else Sorting("", False)
        chosen = await self.app.push_screen_wait(SortDialog(await _columns(dataset), now))
        if chosen is not None and dataset is self._model.dataset:
            self._table.sort(chosen.value, descending=chosen.descending)

    def action_histogram(self) -> None:
        self.start(self._show_histogram(), group="dialog")

    async def _show_histogram(self) -> None:
        dataset = self._model.dataset
        if dataset is None:
            return
        where = await self.app.push_screen_wait(HistogramDialog(dataset, await _columns(dataset)))
        if where and dataset is self._model.dataset:
            self._come_back()
            self._table.look_for(f"where {where}")

    def action_mapping(self) -> None:
        self.start(self._map_fields(), group="dialog")

    async def _map_fields(self) -> None:
        dataset = self._model.dataset
        if dataset is None:
            return
        head = await self._model.read_head(dataset)
        dialog = MappingDialog(
            dataset.path.name, dataset.mapping, head.guess, head.lines, head.objects
        )
        mapping = await self.app.push_screen_wait(dialog)
        if mapping is None or mapping == dataset.mapping:
            return
        await self._model.set_mapping(dataset, mapping, head.guess)
        self._open(dataset.path)

    def action_export(self) -> None:
        self.start(self._export_bad(), group="export", exclusive=True)

    async def _export_bad(self) -> None:
        dataset = self._model.dataset
        if dataset is not None:
            count, target = await self._model.export_bad(dataset)
            text = f"{plural(count, 'bad row')} written with reasons to {target}."
            self.notify(printable(text), title="Exported", markup=False)

    # Keys ------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if not self._ready:
            return True
        rows = self._table.rows
        match action:
            case "step":
                return self.has_class("-reading")
            case "detail":
                here = self.focused is rows or self.has_class("-reading")
                return here and rows.count > 0
            case "train" | "train_one":
                many = len(self._sample.roles) > 1
                matches = many if action == "train" else not many
                return matches and self._model.dataset is not None and self._sample.trainable
            case "filter" | "goto" | "where":
                return self._model.dataset is not None and not self._table.asking
            case "sample" | "profile" | "sort" | "histogram" | "mapping":
                return self._model.dataset is not None
            case "bad_rows":
                known = self._profile.profile
                return bool(known and known.bad_row_count) or self._shows_bad()
            case "findings":
                return bool(self._profile.profile and findings(self._profile.profile))
            case "export":
                return self._shows_bad() and rows.count > 0
            case "back":
                return self.focused is not rows or self._table.filter is not None
        return True

    @on(events.DescendantFocus)
    @on(SamplePane.Counted)
    @on(ProfilePane.Counted)
    def _keys_changed(self) -> None:
        self.refresh_bindings()

    def action_files(self) -> None:
        self._show_side(self._files)

    def action_sample(self) -> None:
        self._show_side(self.query_one("#sample-rows"))

    def action_back(self) -> None:
        rows = self._table.rows
        if self.focused is rows and not self.has_class("-reading"):
            self._table.unfilter()
        self._table.close_prompt()
        self._come_back()
        rows.focus()
        self.refresh_bindings()

    def _come_back(self) -> None:
        self.remove_class("-reading", "-side")

    def _show_side(self, widget: Widget) -> None:
        self.remove_class("-reading")
        self.add_class("-side")
        if widget.focusable:
            self.set_focus(widget)
        else:
            widget.focus()

    # Training --------------------------------------------------------------------------------

    def action_train(self) -> None:
        self.start(self._train(), group="train", exclusive=True)

    action_train_one = action_train

    async def _train(self) -> None:
        from waltzrl_tui.tui.data.train import ask_and_launch

        if await ask_and_launch(self.waltz, self._sample.plan()):
            self.waltz.action_show("jobs")


async def _columns(dataset: OpenDataset) -> list[ColumnChoice]:
    columns = await asyncio.to_thread(query_columns, dataset.path, dataset.mapping)
    return choices(columns, dataset.mapping)
