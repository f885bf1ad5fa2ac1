"""Every command's options, as the parser sets them and as the command reads them."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from tests.support.cli import environment
from waltzrl_tui.cli.options import Options
from waltzrl_tui.cli.parser import Parser
from waltzrl_tui.cli.registry import COMMANDS, CommandEntry


def commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parser itself, or those of the commands in its group."""
    groups = [each for each in parser._actions if isinstance(each, argparse._SubParsersAction)]
    if not groups:
        yield parser
    for group in groups:
        for command in group.choices.values():
            yield from commands(command)


@pytest.mark.parametrize("entry", COMMANDS, ids=lambda entry: entry.name)
def test_every_argument_is_an_option_and_every_option_an_argument(entry: CommandEntry) -> None:
    parser = Parser(prog=entry.name)
    entry.build(parser)
    for command in commands(parser):
        options: type[Options] = command.get_default("options_type")
        arguments = {each.dest for each in command._actions} - {"help", "home", "json"}
        assert arguments == {field.name for field in fields(options)}, command.prog
        assert callable(command.get_default("work"))


def test_help_imports_no_command_and_a_command_nothing_heavy(tmp_path: Path) -> None:
    program = (
        "import sys; from waltzrl_tui.cli.parser import parse\n"
        "from waltzrl_tui.cli.registry import COMMANDS\n"
        "try: parse(['--help'])\n"
        "except SystemExit: pass\n"
        "print([e.name for e in COMMANDS if f'waltzrl_tui.cli.{e.name}' in sys.modules])\n"
        "import argparse\n"
        "for e in COMMANDS: e.build(argparse.ArgumentParser())\n"
        "print([n for n in ('torch', 'openai', 'textual', 'pydantic', 'numpy', 'httpx', 'aiohttp')"
        " if n in sys.modules])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert ended.stdout.splitlines()[-2:] == ["[]", "[]"]
