from __future__ import annotations

import os
import pty
import string
import subprocess
import sys
import termios

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from ader_stream.cli.main import cli
from ader_stream.cli.tables import table_lines
from ader_stream.metrics import CATALOGUE
from ader_stream.settings import describe_settings

words = st.text(string.ascii_letters + string.digits + "_.-`", min_size=1, max_size=50)
prose = st.lists(words, max_size=20).map(" ".join)
rows = st.lists(st.tuples(words, words, prose), min_size=1, max_size=5)
HEADER = ("name", "type", "meaning")


@given(rows, st.integers(1, 200) | st.none())
def test_every_word_is_whole_whatever_the_width(
    table: list[tuple[str, str, str]], width: int | None
) -> None:
    printed = "\n".join(table_lines(HEADER, table, width)).split()
    for row in table:
        for word in " ".join(row).split():
            assert word in printed


@given(rows, st.integers(1, 200))
def test_only_a_word_that_is_longer_than_the_terminal_makes_a_line_longer(
    table: list[tuple[str, str, str]], width: int
) -> None:
    longest = max(len(word) for row in table for cell in row for word in cell.split())
    assert max(map(len, table_lines(HEADER, table, width))) <= max(width, longest + 11)


@given(rows)
def test_in_a_pipe_each_row_is_a_line(table: list[tuple[str, str, str]]) -> None:
    lines = [*table_lines(HEADER, table)]
    assert [line.split() for line in lines[1:]] == [" ".join(row).split() for row in table]


def test_the_last_column_wraps_where_the_others_leave_room() -> None:
    meaning = "Clicks that were refused, by reason, and the ones that were sent back."
    lines = [*table_lines(HEADER, [("ader_dead_letters_total", "counter", meaning)], 72)]
    assert lines == [
        "name                     type     meaning",
        "ader_dead_letters_total  counter  Clicks that were refused, by reason,",
        "                                  and the ones that were sent back.",
    ]


def test_a_narrow_terminal_gets_a_block_for_each_row() -> None:
    lines = [*table_lines(HEADER, [("ader_dead_letters_total", "", "Clicks refused.")], 30)]
    assert lines == ["ader_dead_letters_total", "  meaning: Clicks refused."]


@pytest.mark.parametrize(
    ("command", "names"),
    [
        ("metrics", [metric.name for metric in CATALOGUE]),
        ("settings", [text for row in describe_settings() for text in row[:2]]),
        ("rights", ["ader.dead-letters", "ader.sessionizer-state"]),
    ],
)
def test_commands_print_whole_names_in_a_pipe_and_on_a_terminal_of_80_columns(
    command: str, names: list[str]
) -> None:
    piped = CliRunner().invoke(cli, [command]).output
    shown = on_a_terminal(command, columns=80)
    assert set(names) <= set(piped.split())
    assert set(names) <= set(shown.split())
    assert max(map(len, shown.splitlines())) <= 80


def on_a_terminal(command: str, columns: int) -> str:
    """Return what a command prints on a terminal."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, columns))
    environment = {name: text for name, text in os.environ.items() if name != "COLUMNS"}
    process = subprocess.Popen(
        [sys.executable, "-m", "ader_stream.cli.main", command], stdout=theirs, env=environment
    )
    os.close(theirs)
    printed = b""
    try:
        while chunk := os.read(ours, 65_536):
            printed += chunk
    except OSError:  # Linux says so when the other end is closed
        pass
    os.close(ours)
    assert process.wait() == 0
    return printed.decode()
