"""The command line: every capability of the product without its screens."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence

from waltzrl_tui.errors import UsageError, WaltzError
from waltzrl_tui.text import one_line, printable

_FAILED, _USAGE = 1, 2
_INTERRUPTED = 130
_PIPE_CLOSED = 141  # what a shell reports for a program that SIGPIPE ended


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command, or the app when none is given.

    Args:
        argv: The arguments without the program's name; those of the process by default.

    Returns:
        0 if it succeeded, 1 if it failed, 2 after wrong usage, 128 plus the signal's number if a
        signal ended it.
    """
    home = None
    try:
        from waltzrl_tui.cli.parser import parse

        invocation = parse(sys.argv[1:] if argv is None else argv)
        home = invocation.home

        from waltzrl_tui.cli.command import dispatch

        code = dispatch(invocation)
        sys.stdout.flush()
    except SystemExit as leaving:  # --help and --version
        code = leaving.code if isinstance(leaving.code, int) else _FAILED
    except WaltzError as error:
        code = _USAGE if isinstance(error, UsageError) else _FAILED
        _complain(error.message, error.hint)
    except BrokenPipeError:
        code = _PIPE_CLOSED
    except KeyboardInterrupt:
        code = _INTERRUPTED
    except Exception as error:
        code = _FAILED
        from waltzrl_tui.cli.log import note_crash

        log = note_crash(home)
        _complain(
            f"This is a bug: {type(error).__name__}: {one_line(str(error))}",
            f"The traceback is in {log}." if log else "The log could not be written.",
        )
    return _flushed(code)


def _complain(message: str, hint: str) -> None:
    text = f"waltzrl-tui: {printable(message)}\n"
    if hint:
        text += f"  {printable(hint)}\n"
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(text)


def _flushed(code: int) -> int:
    """`code`, once what was printed is out; or that of a closed pipe, when nobody reads it."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        # The interpreter flushes once more at its end, and would complain.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return code or _PIPE_CLOSED
    return code
