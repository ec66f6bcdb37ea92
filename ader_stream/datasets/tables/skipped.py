"""Count the rows and files of a data set that are not read as clicks."""

from __future__ import annotations

from collections import Counter

REASONS = {
    "filter": "rows that the filter leaves out",
    "no session": "rows without a session",
    "no item": "rows without an item",
    "no time": "rows without a time",
    "hidden": "hidden files and files of the system",
    "other": "files that are no tables",
}
"""Reason → what was left out."""


class Skipped(Counter[str]):
    """Number of rows or files left out, by a key of `REASONS`.

    >>> str(Skipped({"no item": 1_200, "hidden": 0}))
    '1,200 rows without an item'
    """

    def __str__(self) -> str:
        return ", ".join(f"{self[key]:,} {text}" for key, text in REASONS.items() if self[key])
