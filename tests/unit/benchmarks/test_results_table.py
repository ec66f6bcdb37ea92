from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ader_stream.paper_results import DIGINETICA, published_results
from ader_stream.runtime.code_version import code_version
from tests.benchmarks.results_table import (
    HEAD,
    SHORT_HEAD,
    markdown_table,
    read_results,
    short_table,
)

FINGERPRINT = "1c6f7164ad544a483804fc0324a2023801537e5e5db9af0a76d04eca2b83ec86"


def result(method: str, recalls: list[float], seed: int = 0, **other: Any) -> dict[str, Any]:
    cycle = {
        "recall@10": 37.0,
        "mrr@10": 16.0,
        "mrr@20": 17.5,
        "targets": 9,
        "samples_per_second": 2_000.0,
        "train_seconds": 100.0,
        "herding_seconds": 20.0,
    }
    cycles = [{**cycle, "recall@20": recall} for recall in recalls]
    run = {"fingerprint": FINGERPRINT, "method": method, "recipe": "paper", "seed": seed}
    return {**run, "cycles": cycles, **other}


def rows(*results: dict[str, Any]) -> list[list[str]]:
    table = markdown_table(results)
    assert table.startswith(HEAD)
    lines = table.removeprefix(HEAD).splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_ours_stand_beside_the_papers_over_the_same_cycles() -> None:
    assert rows(result("joint", [49.0, 51.0])) == [
        ["`joint`", "0", "2", "50.00", "49.81", "17.50", "17.79", "2,000", "4", "not recorded"]
    ]


def test_a_row_says_whether_the_code_here_has_made_it() -> None:
    [row] = rows(result("joint", [49.0], code=code_version()))
    assert row[-1] == "this"
    both = [
        result("joint", [49.0], seed, code=code)
        for seed, code in enumerate(["0.1.0+abc", code_version()])
    ]
    [row] = rows(*both)
    assert row[-1] == "older: 0.1.0+abc"


def test_all_cycles_stand_beside_the_papers_own_mean() -> None:
    [row] = rows(result("ewc", [47.0] * 16))
    assert (row[4], row[6]) == ("47.66", "16.28")


def test_an_ablation_stands_beside_the_papers_mean_of_all_cycles_and_says_so() -> None:
    [row] = rows(result("er-loss", [49.0] * 6))
    assert (row[4], row[6]) == ("49.31 ¹", "16.90 ¹")


def test_seeds_share_a_row() -> None:
    three = [result("ader", [recall], seed) for seed, recall in enumerate([50.0, 50.4, 50.2])]
    [row] = rows(*three)
    assert row[1:4] == ["0, 1, 2", "1", "50.20 ± 0.20"]
    assert row[-2] == "2"


def test_runs_of_different_length_or_recipe_do_not_share_a_row() -> None:
    other = result("ader", [55.0], recipe="production")
    found = rows(other, result("ader", [50.0, 50.0]), result("ader", [50.0]))
    assert [row[0] for row in found] == ["`ader`", "`ader`", "`ader (production)`"]


def test_who_ran_longer_stands_beside_the_others_over_their_cycles_as_well() -> None:
    found = rows(result("ader", [50.0, 54.0]), result("joint", [51.0]))
    assert [row[:4] for row in found] == [
        ["`ader`", "0", "2", "52.00"],
        ["`ader`", "0", "1", "50.00"],
        ["`joint`", "0", "1", "51.00"],
    ]


def test_a_longer_run_shares_a_row_with_a_shorter_one_of_another_seed() -> None:
    found = rows(result("ewc", [46.0, 50.0]), result("ewc", [48.0], seed=1))
    assert [row[1:4] for row in found] == [["0", "2", "48.00"], ["0, 1", "1", "47.00 ± 1.00"]]


def test_a_data_set_that_the_paper_has_not_stands_alone() -> None:
    [row] = rows(result("ader", [50.0], fingerprint="0" * 64))
    assert (row[4], row[6]) == ("–", "–")


def test_methods_stand_in_their_own_order(tmp_path: Path) -> None:
    for method in ("joint", "ader", "finetune"):
        (tmp_path / f"{method}.json").write_text(json.dumps(result(method, [49.0])))
    found = rows(*read_results(tmp_path))  # type: ignore[arg-type]
    assert [row[0] for row in found] == ["`ader`", "`finetune`", "`joint`"]


def test_the_fingerprint_here_is_that_of_the_papers_data() -> None:
    assert published_results(FINGERPRINT) is DIGINETICA


def test_the_short_table_holds_the_scores_of_the_longest_runs() -> None:
    table = short_table([result("ewc", [47.0] * 16), result("joint", [50.0] * 6)])
    assert table == SHORT_HEAD + "| `ewc` | 47.00 | 47.66 | 17.50 | 16.28 |\n"
