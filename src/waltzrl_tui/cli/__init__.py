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
        0 when it was done, 1 when it failed, 2 when it was used wrongly; 128 and the signal's
        number when a signal ended it.
    """
    home = None
    try:
        from waltzrl_tui.cli.parser import parse

        args = parse(sys.argv[1:] if argv is None else argv)
        home = args.home

        from waltzrl_tui.cli.command import dispatch

        code = dispatch(args)
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

        noted = note_crash(home)
        _complain(
            f"This should not have happened: {type(error).__name__}: {one_line(str(error))}",
            f"The traceback is in {noted}." if noted else "No log could be written.",
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
