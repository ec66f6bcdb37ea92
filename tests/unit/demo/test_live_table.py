from __future__ import annotations

import io

import pytest
from rich.console import Console, RenderableType

from ader_stream.demo.live_table import LiveRow, LiveView, render
from ader_stream.types import RECIPROCAL_UNIT, Counts

HALF = Counts(targets=200, hits20=100, reciprocal20=30 * RECIPROCAL_UNIT)
ROWS = [
    LiveRow(0, 70_739, 15_076, epoch=12, validation_recall=51.234, published=1, served=1),
    LiveRow(1, 5, prequential=HALF),
]


def printed(renderable: RenderableType, width: int = 160) -> str:
    console = Console(file=io.StringIO(), width=width)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()


class Terminal(io.StringIO):
    """A file that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def cells(text: str, block: str) -> list[str]:
    return next(words for line in text.splitlines() if (words := line.split())[:1] == [block])


def test_tells_where_every_block_stands() -> None:
    text = printed(render(ROWS, dataset="DIGINETICA", simulated=False))
    assert cells(text, "0") == ["0", "70,739", "15,076", "12", "51.23", "1", "1"]
    assert cells(text, "1") == ["1", "5", "50.00", "15.00"]


def test_the_title_says_what_the_clicks_are() -> None:
    assert "simulated clicks" in printed(render([], dataset="Simulated shop", simulated=True))
    recorded = printed(render([], dataset="DIGINETICA", simulated=False))
    assert "DIGINETICA" in recorded
    assert "simulated" not in recorded


def test_no_heading_and_no_number_is_cut_at_80_columns() -> None:
    row = LiveRow(15, 1_070_739, 615_076, 100, 51.23, 16, 16, HALF)
    text = printed(render([row], dataset="DIGINETICA", simulated=False), width=80)
    assert max(map(len, text.splitlines())) <= 80
    assert {"validation", "published", "prequential", "MRR@20", "sessions"} <= set(text.split())
    assert len(cells(text, "15")) == 9


def test_a_narrower_terminal_folds_and_cuts_nothing() -> None:
    text = printed(render(ROWS, dataset="DIGINETICA", simulated=False), width=40)
    assert "…" not in text


def test_a_terminal_shows_the_table_in_place() -> None:
    output = Terminal()
    console = Console(file=output, width=80, force_terminal=True)
    with LiveView("DIGINETICA", simulated=False, console=console) as view:
        view.show(ROWS)
    assert "prequential" in output.getvalue()
    assert "block=" not in output.getvalue()


@pytest.mark.parametrize("forced", [False, True])
def test_where_there_is_no_terminal_each_block_is_a_line_once_it_is_finished(
    forced: bool,  # as FORCE_COLOR does
) -> None:
    output = io.StringIO()
    console = Console(file=output, width=40, force_terminal=forced)
    with LiveView("DIGINETICA", simulated=False, console=console) as view:
        view.show([LiveRow(0, 3)])
        view.show(ROWS[:1])
        assert len(output.getvalue().splitlines()) == 1
        view.show(ROWS)
        assert len(output.getvalue().splitlines()) == 2
        view.show(ROWS)
    assert output.getvalue().splitlines() == [
        "DIGINETICA; scores in percent, as in the paper",
        "block=0 clicks=70739 sessions=15076 epoch=12 validation_recall@20=51.23 "
        "version_published=1 version_served=1",
        "block=1 clicks=5 prequential_recall@20=50.00 prequential_mrr@20=15.00",
    ]
