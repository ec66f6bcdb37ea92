"""Progress of the demo: a table on a terminal, a line for each block elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from ader_stream.types import Counts

_COLUMNS = {
    "block": "block",
    "clicks": "clicks",
    "sessions": "sessions",
    "epoch": "epoch",
    "validation_recall@20": "validation\nRecall@20",
    "version_published": "version\npublished",
    "version_served": "version\nserved",
    "prequential_recall@20": "prequential\nRecall@20",
    "prequential_mrr@20": "\nMRR@20",
}
"""Name in a line → heading of the table, which fits into 80 columns."""


UNIT = "scores in percent, as in the paper"


@dataclass(frozen=True, slots=True)
class LiveRow:
    """Progress of one block; None for what is not known yet.

    Parameters
    ----------
    block, clicks, sessions
        The block, and its clicks and sessions so far.
    epoch, validation_recall
        Epoch and Recall@20 (percent) of the update cycle that trains on it.
    published, served
        The version trained on it, and the version that all partitions serve afterwards.
    prequential
        Prequential scores of its own clicks so far.
    """

    block: int
    clicks: int
    sessions: int | None = None
    epoch: int | None = None
    validation_recall: float | None = None
    published: int | None = None
    served: int | None = None
    prequential: Counts | None = None


class LiveView:
    """Redraws the table in place on a terminal; elsewhere prints a line when a block is finished.

    The line of the last block is printed when the view is closed, so that a failed run shows its
    last state.

    Parameters
    ----------
    dataset, simulated
        Name of the clicks' data set, and whether they are simulated.
    console
        Where to print; standard output by default.
    """

    def __init__(self, dataset: str, *, simulated: bool, console: Console | None = None) -> None:
        self._dataset = dataset
        self._simulated = simulated
        self._console = console or Console()
        self._live = Live(console=self._console, auto_refresh=False)
        self._redraws = _can_redraw(self._console)
        self._printed = 0
        self._last: LiveRow | None = None

    def __enter__(self) -> Self:
        if self._redraws:
            self._live.start()
        else:
            self._print(f"{_title(self._dataset, simulated=self._simulated)}; {UNIT}")
        return self

    def __exit__(self, *_: object) -> None:
        if self._redraws:
            self._live.stop()
        elif self._last:
            self._print(as_line(self._last))

    def show(self, rows: Sequence[LiveRow]) -> None:
        """Show these rows in place of the earlier ones; the last one is the current block."""
        if self._redraws:
            table = render(rows, dataset=self._dataset, simulated=self._simulated)
            self._live.update(table, refresh=True)
            return
        for row in rows[self._printed : -1]:
            self._print(as_line(row))
        self._printed = max(len(rows) - 1, 0)
        self._last = rows[-1] if rows else None

    def _print(self, line: str) -> None:
        """Print a whole line and flush it, so that a reader of the log sees the demo's progress."""
        print(line, file=self._console.file, flush=True)


def _can_redraw(console: Console) -> bool:
    """Return whether it is a terminal, even if variables such as FORCE_COLOR set its colours."""
    return console.file.isatty() and not console.is_dumb_terminal


def render(rows: Sequence[LiveRow], *, dataset: str, simulated: bool) -> Table:
    """Return the rows as a table, with a title that names the data set."""
    title = _title(dataset, simulated=simulated)
    table = Table(
        title=title,
        title_style="bold",
        caption=UNIT,
        box=None,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    for heading in _COLUMNS.values():
        table.add_column(heading, justify="right", overflow="fold")
    for row in rows:
        table.add_row(*_cells(row))
    return table


def as_line(row: LiveRow) -> str:
    """Write the known values of a block as ``name=value``, separated by spaces."""
    known = ((name, cell) for name, cell in zip(_COLUMNS, _cells(row), strict=True) if cell)
    return " ".join(f"{name}={cell.replace(',', '')}" for name, cell in known)


def _title(dataset: str, *, simulated: bool) -> str:
    return f"{dataset}: simulated clicks" if simulated else dataset


def _cells(row: LiveRow) -> tuple[str, ...]:
    scores = row.prequential.percentages() if row.prequential else {}
    return (
        str(row.block),
        _whole(row.clicks),
        _whole(row.sessions),
        _whole(row.epoch),
        _percent(row.validation_recall),
        _whole(row.published),
        _whole(row.served),
        _percent(scores.get("recall@20")),
        _percent(scores.get("mrr@20")),
    )


def _whole(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
