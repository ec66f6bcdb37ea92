"""Print tables with whole cells: in a pipe a row is a line, on a terminal the last column wraps."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence

import click

GAP = 2
"""Spaces between two cells, and before the lines of a block."""

READABLE = 30
"""A text column that is narrower than this is hard to read: rows become blocks."""

Row = Sequence[str]


def print_table(header: Row, rows: Iterable[Row]) -> None:
    """Print rows under a header, as wide as the terminal; in a pipe, as wide as the texts."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for line in table_lines(header, [*rows], width):
        click.echo(line)


def table_lines(header: Row, rows: Sequence[Row], width: int | None = None) -> Iterator[str]:
    r"""Lay out rows of text; every word of every cell is whole.

    If the width is known, the last column wraps between words. If it would be too narrow, each row
    is a block: its first cell, and a line for each other cell that is not empty.

    Parameters
    ----------
    header, rows
        One text for each column.
    width
        Columns of the terminal; None puts each row on one line, so that lines can be searched.

    >>> print("\n".join(table_lines(("name", "meaning"), [("gap", "Longest pause.")])))
    name  meaning
    gap   Longest pause.
    """
    table = [header, *rows]
    widths = [max(map(len, cells)) for cells in zip(*table, strict=True)]
    before = sum(widths[:-1]) + GAP * (len(widths) - 1)
    if width is None or before + widths[-1] <= width:
        yield from _aligned(table, widths, widths[-1])
    elif before + _needed(table) <= width:
        yield from _aligned(table, widths, width - before)
    else:
        for row in rows:
            yield from _block(header, row, width)


def _needed(table: Sequence[Row]) -> int:
    """Return the smallest width of the last column: its longest word must fit."""
    return max(READABLE, *(len(word) for row in table for word in row[-1].split()))


def _aligned(table: Sequence[Row], widths: Sequence[int], room: int) -> Iterator[str]:
    """Yield rows side by side; wrapped text continues in the last column."""
    indent = " " * (sum(widths[:-1]) + GAP * (len(widths) - 1))
    for row in table:
        start = "".join(cell.ljust(w + GAP) for cell, w in zip(row[:-1], widths[:-1], strict=True))
        first, *more = _wrapped(row[-1], room) or [""]
        yield (start + first).rstrip()
        yield from (indent + line for line in more)


def _block(header: Row, row: Row, width: int) -> Iterator[str]:
    """Yield the first cell, and below it the others with their names."""
    yield row[0]
    for name, cell in zip(header[1:], row[1:], strict=True):
        lines = _wrapped(f"{name}: {cell}", width - GAP) if cell else []
        yield from (" " * GAP + line for line in lines)


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, max(width, 1), break_long_words=False, break_on_hyphens=False)
