"""The Data screen: files, rows, profile and sample, and the key that trains both agents."""

from __future__ import annotations

import asyncio
from pathlib import Path

from textual import events, on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Static

from waltzrl_tui.datasets.search import search
from waltzrl_tui.datasets.starter import STARTER
from waltzrl_tui.errors import DatasetError, WaltzError
from waltzrl_tui.text import one_line, printable
from waltzrl_tui.tui.background import from_thread, in_thread
from waltzrl_tui.tui.keys import EMPTY, bindings
from waltzrl_tui.tui.screens.base import WaltzScreen
from waltzrl_tui.tui.widgets.data_detail import RowDetail
from waltzrl_tui.tui.widgets.data_figures import size_of
from waltzrl_tui.tui.widgets.data_files import FileList, first_files, list_files
from waltzrl_tui.tui.widgets.data_profile import ProfilePane
from waltzrl_tui.tui.widgets.data_prompt import PromptBar
from waltzrl_tui.tui.widgets.data_sample import SamplePane
from waltzrl_tui.tui.widgets.table_lines import LineList
from waltzrl_tui.tui.widgets.table_pages import Filter, OpenDataset
from waltzrl_tui.tui.widgets.table_rows import RowHead, RowTable

_TYPING_SECONDS = 0.25
_COUNTING_SECONDS = 0.2


class DataScreen(WaltzScreen):
    """What there is to train on."""

    NAME = "data"
    BINDINGS = bindings("data")
    CSS_PATH = "data.tcss"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (76, "-small"), (100, "-medium"), (140, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-short"), (22, "-tall")]

    def __init__(self) -> None:
        super().__init__()
        self._source: OpenDataset | None = None
        self._filter: Filter | None = None
        self._counting: Timer | None = None
        self._search_said = ""

    def compose_body(self) -> ComposeResult:
        table = RowTable()
        with Horizontal(id="data"):
            with Vertical(id="side"):
                yield FileList()
                yield ProfilePane()
                yield SamplePane()
            with Vertical(id="main"):
                with Vertical(id="table", classes="pane"):
                    yield PromptBar()
                    yield RowHead(table)
                    yield table
                    with VerticalScroll(id="trouble"):
                        yield Static(id="trouble-text")
                yield RowDetail()

    def on_mount(self) -> None:
        self._counting = self.set_interval(_COUNTING_SECONDS, self._count_on, pause=True)
        self._trouble(EMPTY["data.rows"])
        self.table.focus()
        self.start(self._first(), group="files")

    async def on_unmount(self) -> None:
        if self._source is not None:
            await asyncio.to_thread(self._source.close)

    @property
    def table(self) -> RowTable:
        return self.query_one(RowTable)

    @property
    def files(self) -> FileList:
        return self.query_one(FileList)

    async def _first(self) -> None:
        try:
            files = await asyncio.to_thread(first_files, self.waltz.workspace.data)
        except DatasetError as error:
            self.report_here(error)
            return
        self.files.show(files)
        names = {file.path.name: file.path for file in files}
        chosen = names.get(STARTER) or next((file.path for file in files if file.readable), None)
        if chosen is not None:
            self._open(chosen)
        elif files:
            self._open(files[0].path)
        else:
            self._trouble(EMPTY["data.files"])

    # Opening ---------------------------------------------------------------------------------

    @on(FileList.Opened)
    def _opened(self, event: FileList.Opened) -> None:
        self.remove_class("-side")
        self._open(event.path)
        self.table.focus()

    def _open(self, path: Path) -> None:
        self.workers.cancel_group(self, "search")
        self.start(self._open_file(path), group="open", exclusive=True)

    async def _open_file(self, path: Path) -> None:
        old, self._source, self._filter = self._source, None, None
        self._use(None)
        self.files.mark(path)
        self.query_one(PromptBar).close()
        self._title(Content(one_line(path.name)))
        self._trouble("reading…")
        try:
            if old is not None:
                await asyncio.to_thread(old.close)
            source = await asyncio.to_thread(OpenDataset, path)
        except DatasetError as error:
            self.report_here(error)
            return
        except OSError as error:
            self.report_here(DatasetError(f"{one_line(str(path))}: {error.strerror or error}."))
            return
        self._source = source
        self.set_class(False, "-trouble")
        self._use(source)
        self._count_on()
        if not source.index.done and self._counting:
            self._counting.resume()

    def _use(self, source: OpenDataset | None) -> None:
        self.table.show(source)
        self.query_one(ProfilePane).use(source)
        self.query_one(SamplePane).use(source)
        self.query_one(RowDetail).clear()
        self.refresh_bindings()

    def _count_on(self) -> None:
        """Take notice of the lines counted since; ends when all of them are."""
        source = self._source
        done = source is None or source.index.done
        if source is not None:
            self.table.grow()
            if done:
                self.files.set_rows(source.path, source.index.rows)
                self.query_one(SamplePane).set_rows_by(source.index.rows)
            self._title_rows()
        if done and self._counting:
            self._counting.pause()

    def report_here(self, error: WaltzError) -> None:
        """Show an error in place of the rows."""
        self._trouble(f"✗ {error.message}", error.hint)

    def _trouble(self, message: str, hint: str = "") -> None:
        text = Content(printable(message))
        if hint:
            text = text + Content.styled(f"\n\n→ {printable(hint)}", "$text-accent")
        self.query_one("#trouble-text", Static).update(text)
        self.set_class(True, "-trouble")

    def _title(self, title: Content) -> None:
        self.query_one("#table").border_title = title

    def _title_rows(self) -> None:
        source = self._source
        if source is None:
            return
        index = source.index
        rows = f"{index.rows:,} rows" if index.done else f"{index.rows:,} rows so far"
        parts = [one_line(source.path.name), rows]
        if not index.done:
            parts.append(f"counting {index.progress:.0%} of {size_of(source.size)}")
        elif index.error:
            parts.append(f"✗ {index.error}")
        title = Content(" · ".join(parts))
        if self._filter is not None:
            found = f" · {len(self._filter.lines):,} with “{one_line(self._filter.text, 30)}”"
            title = title + Content.styled(found + self._search_said, "$accent")
        self._title(title)
        self.query_one(RowHead).refresh()

    # Rows ------------------------------------------------------------------------------------

    @on(LineList.Moved, "#rows")
    def _moved(self) -> None:
        if self._source is not None:
            self.start(self._show_row(self._source), group="detail", exclusive=True)

    @on(LineList.Chosen, "#rows")
    def _chosen(self) -> None:
        self.action_detail()

    async def _show_row(self, source: OpenDataset) -> None:
        number = self.table.line_number()
        detail = self.query_one(RowDetail)
        if number is None:
            detail.clear()
            return
        row, raw = await asyncio.to_thread(source.row, number)
        detail.show(number, row, raw)
        place = f"{self.table.cursor + 1:,} of {self.table.count:,}"
        self.query_one("#table").border_subtitle = place

    def action_detail(self) -> None:
        self.toggle_class("-reading")
        reading = self.has_class("-reading")
        (self.query_one(RowDetail) if reading else self.table).focus()
        self.refresh_bindings()

    def action_step(self, by: int) -> None:
        self.table.cursor += by

    # Keys ------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if not self.is_mounted or not self.query(RowTable):
            return True
        open_file = self._source is not None
        if action == "step":
            return self.has_class("-reading")
        if action == "detail":
            here = self.focused is self.table or self.has_class("-reading")
            return here and self.table.count > 0
        if action == "train":
            return open_file and self.query_one(SamplePane).trainable
        if action in ("filter", "goto", "sample", "profile"):
            return open_file
        if action == "next_bad":
            found = self.query_one(ProfilePane).profile
            return bool(found and found.bad_rows)
        if action == "back":
            return self.focused is not self.table or self._filter is not None
        return True

    @on(events.DescendantFocus)
    @on(SamplePane.Counted)
    def _keys_changed(self) -> None:
        self.refresh_bindings()

    def action_files(self) -> None:
        self._show_side(self.files)

    def action_sample(self) -> None:
        self._show_side(self.query_one("#sample-rows"))

    def _show_side(self, widget: Widget) -> None:
        self.remove_class("-reading")
        self.add_class("-side")
        widget.focus()

    def action_profile(self) -> None:
        self.query_one(ProfilePane).toggle()

    def action_back(self) -> None:
        bar = self.query_one(PromptBar)
        if self.has_class("-reading") or self.has_class("-side") or bar.asking:
            self.remove_class("-reading", "-side")
            bar.close()
        elif self.focused is self.table and self._filter is not None:
            self._search("")
        self.table.focus()
        self.refresh_bindings()

    def action_reload(self) -> None:
        self.start(self._reload(), group="files", exclusive=True)

    async def _reload(self) -> None:
        self.files.show(await asyncio.to_thread(list_files, self.waltz.workspace.data))
        source = self._source
        if source is None or await asyncio.to_thread(source.index.changed):
            path = source.path if source else next((f.path for f in self.files.files), None)
            if path is not None:
                self._open(path)

    # Filter and jump -------------------------------------------------------------------------

    def action_filter(self) -> None:
        self.query_one(PromptBar).ask("filter", self._filter.text if self._filter else "")

    def action_goto(self) -> None:
        self.query_one(PromptBar).ask("goto")

    def action_next_bad(self) -> None:
        found = self.query_one(ProfilePane).profile
        if found is None or not found.bad_rows:
            return
        here = self.table.line_number() or 0
        lines = [line - 1 for line, _ in found.bad_rows]
        self._filter = None
        self.table.show(self._source)
        self.table.go_to(next((line for line in lines if line > here), lines[0]))
        self._title_rows()

    @on(PromptBar.Typed)
    def _typed(self, event: PromptBar.Typed) -> None:
        if event.question == "filter":
            self._search(event.text, wait=0 if event.done else _TYPING_SECONDS)
        elif event.text.strip().isdigit():
            self.table.go_to(int(event.text) - 1)
        if event.done:
            self.query_one(PromptBar).close()
            self.table.focus()

    def _search(self, text: str, *, wait: float = 0) -> None:
        if self._source is not None:
            self.start(self._find(self._source, text, wait), group="search", exclusive=True)

    async def _find(self, source: OpenDataset, text: str, wait: float) -> None:
        if self._filter is not None and self._filter.text == text:
            return
        await asyncio.sleep(wait)
        if not text.strip():
            self._filter = None
            self.table.show(source)
            self._title_rows()
            return

        def found_so_far(found: Filter, read: int) -> None:
            if source is self._source and not found.done:
                self._show_found(found, f" so far, {read * 100 // max(1, source.size)}% read")

        tell = from_thread(found_so_far)
        lines = await in_thread(
            lambda stop: search(
                source.path,
                source.mapping,
                text,
                on_progress=lambda found, read: tell(Filter(text, found), read),
                stop=stop,
            )
        )
        self._show_found(Filter(text, lines, done=True), "")

    def _show_found(self, found: Filter, said: str) -> None:
        old, self._filter, self._search_said = self._filter, found, said
        if old is not None and old.lines is found.lines:
            self.table.grow()
        else:
            self.table.show(self._source, found)
        self._title_rows()

    # Training --------------------------------------------------------------------------------

    def action_train(self) -> None:
        self.start(self._train(), group="train", exclusive=True)

    async def _train(self) -> None:
        from waltzrl_tui.tui.screens.train import ask_and_launch

        plan = self.query_one(SamplePane).plan()
        if await ask_and_launch(self.waltz, plan):
            self.waltz.action_show("jobs")
