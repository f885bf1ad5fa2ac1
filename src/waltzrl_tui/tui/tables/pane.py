"""The pane of the table: its title, the filter, the order, the jump to a row, and what stands there
instead when a file cannot be shown."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.timer import Timer

from waltzrl_tui.datasets.query.errors import UnfinishedExpression
from waltzrl_tui.errors import WaltzError
from waltzrl_tui.text import one_line, printable
from waltzrl_tui.tui.data.prompt import PromptBar
from waltzrl_tui.tui.shell.background import from_thread, in_thread, run_exclusive
from waltzrl_tui.tui.tables.find import (
    WHERE,
    bad_filter,
    empty_filter,
    expression,
    find,
    order_by,
)
from waltzrl_tui.tui.tables.lines import LineList
from waltzrl_tui.tui.tables.pages import Filter, OpenDataset, Order
from waltzrl_tui.tui.tables.rows import RowHead, RowTable
from waltzrl_tui.words import percent, plural, size

_TYPING_SECONDS = 0.25
_COUNTING_SECONDS = 0.2


class TablePane(Vertical):
    """The rows of one dataset, or the reason why there are none.

    Attributes:
        filter: The filter whose rows are shown; None shows all rows.
        order: The order of the rows; None is that of the file.
    """

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
        self.filter: Filter | None = None
        self.order: Order | None = None
        self._share = ""
        self._sorting = ""
        self._counting: Timer | None = None

    def compose(self) -> ComposeResult:
        yield self._prompt
        yield self._head
        yield self.rows

    def on_mount(self) -> None:
        self._counting = self.set_interval(_COUNTING_SECONDS, self._count_on, pause=True)
        self.border_title = "Rows"

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
        """Show no file."""
        self.workers.cancel_group(self, "search")
        self.workers.cancel_group(self, "sort")
        self._source = self.filter = self.order = None
        self._share = self._sorting = ""
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
        """Use the name of a file, or none, as the title."""
        self.border_title = Content(one_line(name)) if name else "Rows"

    def fail(self, error: WaltzError, *, name: str) -> None:
        """Show an error in place of the rows."""
        self.say(f"✗ {error.message}", error.hint, name=name)

    def _count_on(self) -> None:
        """Show the lines counted so far, until all are."""
        source = self._source
        done = source is None or source.index.done
        if done and self._counting:
            self._counting.pause()
        if source is not None:
            if not self.filter and self.order is None:
                self.rows.grow()
            if done:
                self.post_message(self.Counted(source))
            self._retitle()

    def _retitle(self) -> None:
        source = self._source
        if source is None:
            return
        index = source.index
        parts = [one_line(source.path.name), plural(index.rows, "row")]
        if not index.done:
            parts[-1] += " so far"
            parts.append(f"counting, {percent(index.progress)} of {size(source.size)}")
        elif index.error:
            parts.append(f"✗ {index.error}")
        title = Content(" · ".join(parts))
        if self.filter is not None:
            label = f" · {len(self.filter.lines):,} {self.filter.title}"
            title = title + Content.styled(label + self._share, "$text-accent")
        if self._sorting or self.order:
            order = self._sorting or (self.order.title if self.order else "")
            title = title + Content.styled(f" · {order}", "$text-accent")
        self.border_title = title
        self._show_place()
        self._head.refresh()

    @on(LineList.Moved, "#rows")
    def _show_place(self) -> None:
        rows = self.rows
        self.border_subtitle = f"{rows.cursor + 1:,} of {rows.count:,}" if rows.count else ""

    # Filter and jump -------------------------------------------------------------------------

    def ask_filter(self, *, where: bool = False) -> None:
        """Ask for a query, or for an expression."""
        known = self.filter.query if self.filter else ""
        self._prompt.ask("filter", WHERE if where and not expression(known) else known)

    def ask_row(self) -> None:
        self._prompt.ask("goto")

    def close_prompt(self) -> None:
        """Stop asking; what was said about a wrong expression goes as well."""
        if self.asking:
            self.workers.cancel_group(self, "search")
            self._prompt.close()
            if self._source is not None and (self.filter is None or self.filter.lines):
                self.rows.say(None)

    def unfilter(self) -> None:
        """Show all rows again, with the cursor on the same one."""
        self.workers.cancel_group(self, "search")
        if self._source is not None and self.filter is not None:
            number = self.rows.line_number()
            self.filter = None
            self._share = ""
            self._show_rows()
            self.rows.go_to(number or 0)

    def show_lines(self, matches: Filter) -> None:
        """Show these rows only."""
        self.workers.cancel_group(self, "search")
        self._show_matches(matches, "")
        self.rows.focus()

    def look_for(self, text: str) -> None:
        """Show the rows that match `text`: words, or "where …"."""
        self._search(text, wait=0)
        self.rows.focus()

    def show_bad(self) -> None:
        """Show only the bad rows."""
        if self._source is not None:
            run_exclusive(self, "search", partial(self._fill, self._source, bad_filter(), 0))

    @on(PromptBar.Typed)
    def _typed(self, event: PromptBar.Typed) -> None:
        event.stop()
        if event.question == "filter":
            self._search(event.text, wait=0 if event.done else _TYPING_SECONDS)
            if event.done and expression(event.text):
                return  # The bar stays while the expression may be wrong.
        elif event.text.strip().isdecimal():
            self.rows.go_to(int(event.text) - 1)
        if event.done:
            self._prompt.close()
            self.rows.focus()

    def _search(self, text: str, *, wait: float) -> None:
        if self._source is None:
            return
        if wait == 0 and self.filter and self.filter.query == text:
            self._leave_prompt()
            return
        run_exclusive(self, "search", partial(self._find, self._source, text, wait))

    async def _find(self, source: OpenDataset, text: str, wait: float) -> None:
        await asyncio.sleep(wait)
        if not text.strip() or expression(text) == "":
            self.unfilter()
            if not wait:
                self._leave_prompt()
            return
        await self._fill(source, empty_filter(text), wait)

    async def _fill(self, source: OpenDataset, matches: Filter, wait: float) -> None:
        """Fill `matches`, showing its rows as it grows."""
        ended = False

        def so_far(read: int) -> None:
            if source is self._source and not ended:
                if not wait:
                    self._leave_prompt()  # The expression was accepted.
                self._show_matches(matches, f" so far, {percent(read / max(1, source.size))} read")

        on_progress = from_thread(so_far)
        try:
            await in_thread(lambda stop: find(source, matches, on_progress, stop))
        except WaltzError as error:
            self._complain(error, confirmed=not wait)
            return
        finally:
            ended = True
        self._prompt.say("")
        self._show_matches(matches, "")
        if not wait:
            self._leave_prompt()

    def _leave_prompt(self) -> None:
        if self.asking:
            self._prompt.close()
            self.rows.focus()

    def _complain(self, error: WaltzError, *, confirmed: bool) -> None:
        """Show the error of an expression; in short while it is being typed."""
        if not self.asking:
            self.notify(printable(str(error)), severity="error", markup=False)
            return
        unfinished = not confirmed and isinstance(error, UnfinishedExpression)
        self._prompt.say("" if unfinished else f"✗ {one_line(error.message, 60)}")
        if confirmed:
            text = Content.styled(f"✗ {printable(error.message)}", "$text-muted")
            hint = Content.styled(f"\n\n→ {printable(error.hint)}", "$text-accent")
            self.rows.say(text + hint)

    def _show_matches(self, matches: Filter, share: str) -> None:
        known, self.filter, self._share = self.filter, matches, share
        if known is matches and share:
            self.rows.grow()
        elif known is not matches or self.order is not None:
            self._show_rows()
        else:
            self.rows.grow()
        nothing = not share and not matches.lines
        self.rows.say(Content.styled(matches.empty, "$text-muted") if nothing else None)
        self._retitle()

    # Order -----------------------------------------------------------------------------------

    def sort(self, column: str, *, descending: bool) -> None:
        """Show the rows in the order of `column`, an expression; in that of the file when ""."""
        source = self._source
        if source is None:
            return
        if not column:
            self.workers.cancel_group(self, "sort")
            number = self.rows.line_number()
            self.order, self._sorting = None, ""
            self._show_rows()
            self.rows.go_to(number or 0)
            return
        run_exclusive(self, "sort", partial(self._sort, source, column, descending))

    async def _sort(self, source: OpenDataset, column: str, descending: bool) -> None:
        def so_far(read: int) -> None:
            if source is self._source and self._sorting:
                self._sorting = f"sorting, {percent(read / max(1, source.size))}"
                self._retitle()

        on_progress = from_thread(so_far)
        self._sorting = "sorting…"
        self._retitle()
        try:
            order = await in_thread(
                lambda stop: order_by(source, column, descending, on_progress, stop)
            )
        except WaltzError as error:
            self.notify(printable(str(error)), severity="error", markup=False)
            order = self.order
        finally:
            self._sorting = ""
        if source is self._source:
            self.order = order
            self._show_rows()

    def _show_rows(self) -> None:
        """Show the matching rows, or all, in the chosen order."""
        matches, order = self.filter, self.order
        if matches is not None and order is not None and not self._share:
            run_exclusive(self, "arrange", partial(self._arrange, matches, order))
            return
        self.workers.cancel_group(self, "arrange")
        if matches is not None:
            self.rows.show(self._source, matches.lines, mark=matches.mark)
        elif order is not None:
            self.rows.show(self._source, order.lines, ascending=False)
        else:
            self.rows.show(self._source)
        if matches is None:
            self.rows.say(None)
        self._retitle()

    async def _arrange(self, matches: Filter, order: Order) -> None:
        lines = await asyncio.to_thread(order.apply, matches)
        self.rows.show(self._source, lines, ascending=False, mark=matches.mark)
        self._retitle()
