from __future__ import annotations

from typing import Any

from tests.benchmarks.gate import HEAD, markdown_table


def row(version: str, rejected: str | None = None, **other: float | None) -> dict[str, Any]:
    lost = {"block": -7.0, "exemplars": 2.0, "next_block": 0.5, "cost": 0.0}
    found = {"mislaid": 0.0, "displaced": 0.0, "told_apart": 99.5}
    return {"version": version, "rejected": rejected, "undecided": None, **lost, **found, **other}


def rows(*reported: dict[str, Any]) -> list[str]:
    table = markdown_table({"rows": reported})
    assert table.startswith(HEAD)
    return table.removeprefix(HEAD).splitlines()


def test_sound_versions_share_a_row_from_the_least_to_the_most() -> None:
    found = rows(row("sound"), row("ruin"), row("sound", block=-2.5, mislaid=None))
    name, *cells = found[0].strip("| ").split(" | ")
    assert name == "2 sound versions, each after the other"
    assert cells == ["−7 … −2.5", "2", "0.5", "0", "0", "0", "99.5", "passes"]


def test_a_version_that_is_rejected_names_the_setting_that_it_fails_by() -> None:
    [_, ruin] = rows(
        row("sound"), row("ruin", "1.2% is too much; trainer.max_negative_flips allows 1%")
    )
    assert ruin.endswith("| `trainer.max_negative_flips` |")


def test_a_version_that_fails_by_no_setting_names_what_it_fails_by() -> None:
    [_, ruin] = rows(row("sound"), row("ruin", "3 rows are of other items; expected none"))
    assert ruin.endswith("| 3 rows are of other items |")


def test_a_version_that_cannot_be_judged_says_so() -> None:
    waits = row("tiny", "too few; trainer.when_undecided = join") | {"undecided": "too few"}
    [_, line] = rows(row("sound"), waits)
    assert line.endswith("| undecided |")


def test_a_sound_version_that_fails_is_not_hidden_among_the_others() -> None:
    [line] = rows(row("sound"), row("sound", "trainer.max_forgetting allows 1"))
    assert line.endswith("| `trainer.max_forgetting`, passes |")
