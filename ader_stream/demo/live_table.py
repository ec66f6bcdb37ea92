"""The table that the demo prints while it runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from ader_stream.types import Counts

_COLUMNS = (
    "block",
    "clicks",
    "sessions",
    "epoch",
    "validation\nRecall@20",
    "version\npublished",
    "version\nserved",
    "prequential\nRecall@20",
    "prequential\nMRR@20",
)

LOG_WIDTH = 100
"""Columns of a log."""


@dataclass(frozen=True, slots=True)
class LiveRow:
    """Where one block stands; None is what is not known yet.

    Parameters
    ----------
    block, clicks, sessions
        The block, and how much of it came so far.
    epoch, validation_recall
        Of the update cycle that trains on it; Recall@20 in percent.
    published, served
        The version trained on it, and the version that all partitions serve since.
    prequential
        How its own clicks were scored so far.
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
    """Redraws the table in place on a terminal; elsewhere the last one is printed at the end.

    Parameters
    ----------
    dataset, simulated
        What the clicks are.
    console
        Where to print; standard output by default.
    """

    def __init__(self, dataset: str, *, simulated: bool, console: Console | None = None) -> None:
        self._dataset = dataset
        self._simulated = simulated
        self._live = Live(console=console or _wide_enough(), auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, rows: Sequence[LiveRow]) -> None:
        """Draw these rows in place of the ones before."""
        table = render(rows, dataset=self._dataset, simulated=self._simulated)
        self._live.update(table, refresh=True)


def _wide_enough() -> Console:
    """Standard output; in a log, where no terminal tells its width, the whole table fits."""
    console = Console()
    return console if console.is_terminal else Console(width=LOG_WIDTH)


def render(rows: Sequence[LiveRow], *, dataset: str, simulated: bool) -> Table:
    """Show the rows under a title that says what the clicks are."""
    title = f"{dataset}: simulated clicks, nobody's" if simulated else dataset
    table = Table(title=title, title_style="bold", caption="percent, as in the paper")
    for heading in _COLUMNS:
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(*_cells(row))
    return table


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
