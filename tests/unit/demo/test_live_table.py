from __future__ import annotations

import io

from rich.console import Console, RenderableType

from ader_stream.demo.live_table import LiveRow, LiveView, render
from ader_stream.types import RECIPROCAL_UNIT, Counts

HALF = Counts(targets=200, hits20=100, reciprocal20=30 * RECIPROCAL_UNIT)
ROWS = [
    LiveRow(0, 70_739, 15_076, epoch=12, validation_recall=51.234, published=1, served=1),
    LiveRow(1, 5, prequential=HALF),
]


def printed(renderable: RenderableType) -> str:
    console = Console(file=io.StringIO(), width=160)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()


def cells(text: str, block: str) -> list[str]:
    lines = [line.replace("│", "|").split("|") for line in text.splitlines()]
    rows = [[cell.strip() for cell in line[1:-1]] for line in lines]
    return next(row for row in rows if row and row[0] == block)


def test_tells_where_every_block_stands() -> None:
    text = printed(render(ROWS, dataset="DIGINETICA", simulated=False))
    assert cells(text, "0") == ["0", "70,739", "15,076", "12", "51.23", "1", "1", "", ""]
    assert cells(text, "1") == ["1", "5", "", "", "", "", "", "50.00", "15.00"]


def test_the_title_says_what_the_clicks_are() -> None:
    assert "simulated clicks" in printed(render([], dataset="Simulated shop", simulated=True))
    recorded = printed(render([], dataset="DIGINETICA", simulated=False))
    assert "DIGINETICA" in recorded
    assert "simulated" not in recorded


def test_where_there_is_no_terminal_the_last_table_is_printed_once() -> None:
    output = io.StringIO()
    console = Console(file=output, width=160, force_terminal=False)
    with LiveView("DIGINETICA", simulated=False, console=console) as view:
        view.show(ROWS[:1])
        view.show(ROWS)
    assert output.getvalue().count("DIGINETICA") == 1
    assert cells(output.getvalue(), "1")[0] == "1"
