from __future__ import annotations

from tests.benchmarks.page_table import PageTable

TABLE = PageTable("speed", "python -m speed")


def test_a_table_takes_the_place_of_the_old_one_and_nothing_else() -> None:
    other = PageTable("speed", "other").marked("| other |\n")
    old, new = (TABLE.marked(f"| {word} |\n") for word in ("old", "new"))
    assert TABLE.put(f"{other}{old}after\n", "| new |\n") == f"{other}{new}after\n"
