"""The Data screen: files, rows, profile and sample, and the key that trains both agents."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widget import Widget

from waltzrl_tui.datasets.data_folder import first_files, list_files
from waltzrl_tui.datasets.profiling.figures import Profile
from waltzrl_tui.datasets.query.columns import query_columns
from waltzrl_tui.datasets.reading.mappings import guess_mapping
from waltzrl_tui.datasets.reading.parse import BadLine, parse_object
from waltzrl_tui.datasets.starter import STARTER
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
from waltzrl_tui.tui.data.profile import ProfilePane
from waltzrl_tui.tui.data.sample import SamplePane
from waltzrl_tui.tui.data.sheet import ProfileDialog
from waltzrl_tui.tui.shell.background import in_thread
from waltzrl_tui.tui.shell.keys import EMPTY, bindings
from waltzrl_tui.tui.shell.screen import WaltzScreen
from waltzrl_tui.tui.tables.find import write_bad_rows
from waltzrl_tui.tui.tables.lines import LineList
from waltzrl_tui.tui.tables.pages import OpenDataset
from waltzrl_tui.tui.tables.pane import TablePane

_SLOW_SECONDS = 0.3
_HEAD = 100


class DataScreen(WaltzScreen):
    """What there is to train on."""

    NAME = "data"
    BINDINGS = bindings("data")
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (76, "-small"), (100, "-medium"), (140, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-short"), (22, "-tall")]

    def __init__(self) -> None:
        super().__init__()
        self._source: OpenDataset | None = None
        self._path: Path | None = None
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
        self._table = self.query_one(TablePane)
        self._files = self.query_one(FileList)
        self._profile = self.query_one(ProfilePane)
        self._sample = self.query_one(SamplePane)
        self._detail = self.query_one(RowDetail)
        self._ready = True
        self._detail.clear()
        self.start(self._find_files(), group="files")

    async def on_unmount(self) -> None:
        if self._source is not None:
            await asyncio.to_thread(self._source.close)

    # Files -----------------------------------------------------------------------------------

    async def _find_files(self) -> None:
        try:
            files = await asyncio.to_thread(first_files, self.waltz.workspace.data)
        except DatasetError as error:
            self._table.fail(error, name="data")
            return
        self._files.show(files)
        by_name = {file.path.name: file.path for file in files}
        chosen = by_name.get(STARTER) or next((file.path for file in files), None)
        if chosen is None:
            self._table.say(EMPTY["data.files"])
        else:
            self._open(chosen)

    def action_reload(self) -> None:
        self.start(self._reload(), group="files", exclusive=True)

    @on(events.ScreenResume)
    def _look_again(self) -> None:
        if self._ready and self._path is not None:
            self.action_reload()
            self._profile.reprice()  # another provider may have been chosen on Plan

    async def _reload(self) -> None:
        files = await asyncio.to_thread(list_files, self.waltz.workspace.data)
        self._files.show(files)
        source, path = self._source, self._path
        if source is not None and not await asyncio.to_thread(source.index.changed):
            return
        if path is None or all(file.path != path for file in files):
            path = next((file.path for file in files), path)
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
        old, self._source, self._path = self._source, None, path
        self._table.clear()
        self._table.name_file(path.name)
        # Said only when it takes long: most files are open within the blink of an eye.
        slow = self.set_timer(_SLOW_SECONDS, lambda: self._table.say("reading…", name=path.name))
        self._show_in_panes(None)
        self._files.mark(path)
        try:
            if old is not None:
                await asyncio.to_thread(old.close)
            self._source = await in_thread(lambda stop: _opened(path, stop))
        except DatasetError as error:
            self._table.fail(error, name=path.name)
            self._files.set_bad(path)
        finally:
            slow.stop()
        if self._source is not None:
            self._table.show(self._source)
            self._show_in_panes(self._source)
            if self.focused is None:
                self._table.rows.focus()
        elif self.focused is None:
            self._files.focus()
        self.refresh_bindings()

    def _show_in_panes(self, source: OpenDataset | None) -> None:
        self._profile.use(source)
        self._sample.use(source)
        if source is None:
            self._detail.clear()

    @on(TablePane.Counted)
    def _counted(self, event: TablePane.Counted) -> None:
        self._files.set_rows(event.source.path, event.source.index.rows)
        if event.source is self._source:
            self._sample.suggest(event.source.index.rows)

    # Rows ------------------------------------------------------------------------------------

    @on(LineList.Moved, "#rows")
    def _moved(self) -> None:
        if self._source is not None:
            self.start(self._show_row(self._source), group="detail", exclusive=True)

    async def _show_row(self, source: OpenDataset) -> None:
        number = self._table.rows.line_number()
        if number is None:
            self._detail.clear()
        else:
            self._detail.show(number, *await asyncio.to_thread(source.row, number))

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
        self._table.ask_where()

    def action_bad_rows(self) -> None:
        self._come_back()
        if self._shows_bad():
            self._table.unfilter()
        else:
            self._table.show_bad()
        self._table.rows.focus()

    def _shows_bad(self) -> bool:
        return self._table.found is not None and self._table.found.kind == "bad"

    def action_findings(self) -> None:
        self.start(self._open_finding(), group="dialog")

    async def _open_finding(self) -> None:
        source, profile = self._source, self._profile.profile
        if source is None or profile is None:
            return
        found = findings(profile)
        first = await asyncio.to_thread(first_texts, source, found)
        dialog = FindingsDialog(profile, found, first, await self._profile.priced())
        chosen = await self.app.push_screen_wait(dialog)
        if chosen is not None and source is self._source:
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
        source, order = self._source, self._table.order
        if source is None:
            return
        now = Sorting(order.column, order.descending) if order else Sorting("", False)
        chosen = await self.app.push_screen_wait(SortDialog(await _columns(source), now))
        if chosen is not None and source is self._source:
            self._table.sort(chosen.value, descending=chosen.descending)

    def action_histogram(self) -> None:
        self.start(self._show_histogram(), group="dialog")

    async def _show_histogram(self) -> None:
        source = self._source
        if source is None:
            return
        where = await self.app.push_screen_wait(HistogramDialog(source, await _columns(source)))
        if where and source is self._source:
            self._come_back()
            self._table.look_for(f"where {where}")

    def action_mapping(self) -> None:
        self.start(self._map_fields(), group="dialog")

    async def _map_fields(self) -> None:
        source = self._source
        if source is None:
            return
        lines, objects = await asyncio.to_thread(_head_of, source)
        guessed = guess_mapping(objects)
        dialog = MappingDialog(source.path.name, source.mapping, guessed, lines, objects)
        chosen = await self.app.push_screen_wait(dialog)
        if chosen is None or chosen == source.mapping:
            return
        if chosen == guessed:
            await self.waltz.store.mappings.clear(source.path)
        else:
            await self.waltz.store.mappings.set(source.path, chosen.to_json())
        self._open(source.path)

    def action_export(self) -> None:
        self.start(self._export_bad(), group="export", exclusive=True)

    async def _export_bad(self) -> None:
        source = self._source
        if source is not None:
            target = self.waltz.workspace.home / f"{source.path.name}.bad.jsonl"
            count = await in_thread(lambda stop: write_bad_rows(source, target, stop))
            said = f"{count:,} bad rows with their reasons are in {target}."
            self.notify(printable(said), title="Exported", markup=False)

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
                asked = many if action == "train" else not many
                return asked and self._source is not None and self._sample.trainable
            case "filter" | "goto" | "where":
                return self._source is not None and not self._table.asking
            case "sample" | "profile" | "sort" | "histogram" | "mapping":
                return self._source is not None
            case "bad_rows":
                known = self._profile.profile
                return bool(known and known.bad_row_count) or self._shows_bad()
            case "findings":
                return bool(self._profile.profile and findings(self._profile.profile))
            case "export":
                return self._shows_bad() and rows.count > 0
            case "back":
                return self.focused is not rows or self._table.filtered
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


async def _columns(source: OpenDataset) -> list[ColumnChoice]:
    columns = await asyncio.to_thread(query_columns, source.path, source.mapping)
    return choices(columns, source.mapping)


def _head_of(source: OpenDataset) -> tuple[list[bytes], list[dict[str, Any]]]:
    """The first lines of the file, and the objects among them."""
    lines = [line for line in source.index.page(0, _HEAD) if line.strip()]
    objects = []
    for line in lines:
        try:
            objects.append(parse_object(line))
        except BadLine:
            continue
    return lines, objects


def _opened(path: Path, stop: Callable[[], bool]) -> OpenDataset | None:
    """The dataset at `path`, closed again when nobody waits for it any more."""
    source = OpenDataset(path)
    if stop():
        source.close()
        return None
    return source
