"""The pane of the table: its title, the filter, the jump to a row, and what stands there instead
when a file cannot be shown."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.timer import Timer

from waltzrl_tui.datasets.search import search
from waltzrl_tui.errors import WaltzError
from waltzrl_tui.text import one_line, printable
from waltzrl_tui.tui.background import from_thread, in_thread, run_exclusive
from waltzrl_tui.tui.keys import EMPTY
from waltzrl_tui.tui.widgets.data_figures import size_of
from waltzrl_tui.tui.widgets.data_prompt import PromptBar
from waltzrl_tui.tui.widgets.table_lines import LineList
from waltzrl_tui.tui.widgets.table_pages import Filter, OpenDataset
from waltzrl_tui.tui.widgets.table_rows import RowHead, RowTable

_TYPING_SECONDS = 0.25
_COUNTING_SECONDS = 0.2


class TablePane(Vertical):
    """The rows of one dataset, or the reason why there are none."""

    @dataclass
    class Counted(Message):
        """All lines of the open file are counted."""

        source: OpenDataset

    def __init__(self) -> None:
        super().__init__(id="table", classes="pane")
        self.rows = RowTable()
        self._head = RowHead(self.rows)
        self._prompt = PromptBar()
        self._source: OpenDataset | None = None
        self._filter: Filter | None = None
        self._share = ""
        self._counting: Timer | None = None

    def compose(self) -> ComposeResult:
        yield self._prompt
        yield self._head
        yield self.rows

    def on_mount(self) -> None:
        self._counting = self.set_interval(_COUNTING_SECONDS, self._count_on, pause=True)
        self.border_title = "Rows"

    @property
    def filtered(self) -> bool:
        return self._filter is not None

    @property
    def asking(self) -> bool:
        return self._prompt.asking

    def show(self, source: OpenDataset) -> None:
        """Show the rows of `source`, which may still be counting them."""
        self.clear()
        self._source = source
        self.rows.show(source)
        self.rows.say(None)
        self._count_on()
        if not source.index.done and self._counting:
            self._counting.resume()

    def clear(self) -> None:
        """Show no file any more."""
        self.workers.cancel_group(self, "search")
        self._source = self._filter = None
        self._prompt.close()
        self.border_subtitle = ""
        self.rows.show(None)

    def say(self, message: str, hint: str = "", *, name: str = "") -> None:
        """Show a message in place of the rows; `name` is the file that it is about."""
        text = Content.styled(printable(message), "$text-muted")
        if hint:
            text = text + Content.styled(f"\n\n→ {printable(hint)}", "$text-accent")
        self.rows.say(text)
        self.name_file(name)

    def name_file(self, name: str) -> None:
        """Have the name of a file, or none, for the title."""
        self.border_title = Content(one_line(name)) if name else "Rows"

    def fail(self, error: WaltzError, *, name: str) -> None:
        """Show an error in place of the rows."""
        self.say(f"✗ {error.message}", error.hint, name=name)

    def _count_on(self) -> None:
        """Take notice of the lines counted since; ends when all of them are."""
        source = self._source
        done = source is None or source.index.done
        if done and self._counting:
            self._counting.pause()
        if source is not None:
            if not self.filtered:
                self.rows.grow()
            if done:
                self.post_message(self.Counted(source))
            self._retitle()

    def _retitle(self) -> None:
        source = self._source
        if source is None:
            return
        index = source.index
        parts = [one_line(source.path.name), f"{index.rows:,} {_noun(index.rows)}"]
        if not index.done:
            parts[-1] += " so far"
            parts.append(f"counting, {index.progress:.0%} of {size_of(source.size)}")
        elif index.error:
            parts.append(f"✗ {index.error}")
        title = Content(" · ".join(parts))
        if self._filter is not None:
            found = f" · {len(self._filter.lines):,} with “{one_line(self._filter.text, 30)}”"
            title = title + Content.styled(found + self._share, "$text-accent")
        self.border_title = title
        self._tell_place()
        self._head.refresh()

    @on(LineList.Moved, "#rows")
    def _tell_place(self) -> None:
        rows = self.rows
        self.border_subtitle = f"{rows.cursor + 1:,} of {rows.count:,}" if rows.count else ""

    # Filter and jump -------------------------------------------------------------------------

    def ask_filter(self) -> None:
        self._prompt.ask("filter", self._filter.text if self._filter else "")

    def ask_row(self) -> None:
        self._prompt.ask("goto")

    def close_prompt(self) -> None:
        self._prompt.close()

    def unfilter(self) -> None:
        """Show all rows again, with the cursor on the same one."""
        self.workers.cancel_group(self, "search")
        if self._source is not None and self._filter is not None:
            number = self.rows.line_number()
            self._filter = None
            self.rows.show(self._source)
            self.rows.go_to(number or 0)
            self.rows.say(None)
            self._retitle()

    def next_of(self, lines: Sequence[int]) -> None:
        """Go to the first of `lines` (numbers from 0) after the cursor, or to the first of all."""
        here = self.rows.line_number()
        self.unfilter()
        after = (line for line in lines if here is not None and line > here)
        self.rows.go_to(next(after, lines[0]))

    @on(PromptBar.Typed)
    def _typed(self, event: PromptBar.Typed) -> None:
        event.stop()
        if event.question == "filter":
            self._search(event.text, wait=0 if event.done else _TYPING_SECONDS)
        elif event.text.strip().isdecimal():
            self.rows.go_to(int(event.text) - 1)
        if event.done:
            self.close_prompt()
            self.rows.focus()

    def _search(self, text: str, *, wait: float) -> None:
        if self._source is not None and not (
            wait == 0 and self._filter and self._filter.text == text
        ):
            find = partial(self._find, self._source, text, wait)
            run_exclusive(self, "search", find)

    async def _find(self, source: OpenDataset, text: str, wait: float) -> None:
        await asyncio.sleep(wait)
        if not text.strip():
            self.unfilter()
            return
        ended = False

        def so_far(found: Filter, read: int) -> None:
            if source is self._source and not ended:
                self._show_found(found, f" so far, {read * 100 // max(1, source.size)}% read")

        tell = from_thread(so_far)

        def work(stop: Callable[[], bool]) -> Filter:
            found = Filter(text, array("Q"))
            search(
                source.path,
                source.mapping,
                text,
                found.lines,
                on_progress=lambda read: tell(found, read),
                stop=stop,
            )
            return found

        try:
            found = await in_thread(work)
        except WaltzError as error:
            self.notify(printable(str(error)), severity="error", markup=False)
            return
        finally:
            ended = True
        self._show_found(found, "")

    def _show_found(self, found: Filter, share: str) -> None:
        known, self._filter, self._share = self._filter, found, share
        if known is found:
            self.rows.grow()
        else:
            self.rows.show(self._source, found)
        nothing = not share and not found.lines
        self.rows.say(Content.styled(EMPTY["data.filtered"], "$text-muted") if nothing else None)
        self._retitle()


def _noun(count: int) -> str:
    return "row" if count == 1 else "rows"
