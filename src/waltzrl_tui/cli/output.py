"""What a command prints: its result on stdout, everything else on stderr."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO

from waltzrl_tui.cli.layout import bar, cut, width
from waltzrl_tui.errors import WaltzError
from waltzrl_tui.text import one_line, printable

_REDRAW_SECONDS = 0.1
_LINE_SECONDS = 15.0


class Status:
    """One line that changes in place on a terminal; elsewhere a plain line now and then."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.terminal = stream.isatty()
        self._drawn = 0
        # Where lines cannot be erased, work that ends soon needs none.
        self._last = float("-inf") if self.terminal else time.monotonic()

    def set(self, text: str) -> None:
        """Show `text`, unless a line was shown just before."""
        now = time.monotonic()
        if now - self._last < (_REDRAW_SECONDS if self.terminal else _LINE_SECONDS):
            return
        self._last = now
        self._draw(one_line(text, 1000))

    def line(self, text: str) -> None:
        """Print permanent lines above the one that changes."""
        self.clear()
        self._write(printable(text) + "\n")

    def clear(self) -> None:
        """Erase the changing line."""
        if self._drawn:
            # Spaces instead of an escape sequence: every terminal understands them.
            self._write("\r" + " " * self._drawn + "\r")
            self._drawn = 0
            self._last = float("-inf")

    def _draw(self, text: str) -> None:
        if not self.terminal:
            self._write(text + "\n")
            return
        text = cut(text, max(10, shutil.get_terminal_size().columns - 1))
        self._write("\r" + text + " " * max(0, self._drawn - width(text)) + "\r")
        self._drawn = max(width(text), self._drawn)

    def _write(self, text: str) -> None:
        # A closed terminal must not stop the work whose progress it shows.
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(_encodable(text, self._stream))
            self._stream.flush()


class Output:
    """Where a command prints.

    Attributes:
        json: The result is one JSON document, and nothing else goes to stdout.
        status: The changing line on stderr.
    """

    def __init__(self, *, json: bool) -> None:
        self.json = json
        self.status = Status(sys.stderr)

    def result(self, document: Mapping[str, Any], text: str) -> None:
        """Print the result: `document` with --json, else `text`."""
        self.status.clear()
        if self.json:
            # ASCII only, so that no character can control a terminal.
            shown = json.dumps(document, indent=2, allow_nan=False)
        else:
            # Piped text may reach a terminal later.
            shown = _encodable(printable(text), sys.stdout)
        try:
            sys.stdout.write(shown + "\n")
            sys.stdout.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise WaltzError(
                f"The result could not be written to stdout: {error.strerror or error}.",
                hint="Send it somewhere else; the command itself has finished.",
            ) from error

    def say(self, text: str) -> None:
        """Print a line about the work on stderr."""
        self.status.line(text)

    def progress(self, what: str, done: int, total: int, note: str = "") -> None:
        """Show the progress of `what`."""
        drawn = ""
        if self.status.terminal and total:
            drawn = f"{bar(done, total, unicode=self.unicode)} "
        of = f"{done:,}/{total:,}" if total else f"{done:,}"
        self.status.set(f"{what} {drawn}{of}{'  ' + note if note else ''}")

    @property
    def unicode(self) -> bool:
        """Whether stderr can show more than ASCII."""
        return "utf" in (sys.stderr.encoding or "").lower()


def _encodable(text: str, stream: TextIO) -> str:
    """`text` with question marks for what the stream's encoding lacks."""
    encoding = stream.encoding or "utf-8"
    return text.encode(encoding, "replace").decode(encoding, "replace")
