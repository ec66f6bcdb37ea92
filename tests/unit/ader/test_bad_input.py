"""Data that should not be, and data that is only odd: a clear error, or what is documented."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ader_stream.ader.cycle import train_cycle
from ader_stream.ader.evaluate import as_json
from ader_stream.ader.evaluate import evaluate as run_cycles
from ader_stream.ader.methods import METHODS, method
from ader_stream.ader.recipes import Recipe
from ader_stream.cli.evaluation.evaluate import evaluate
from ader_stream.errors import DatasetError, InputError, TrainingError
from ader_stream.types import Session

Block = list[tuple[str, ...]]
Blocks = Callable[[int, int], Block]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({0: "a x\na y\n", 2: "a x\n"}, r"no period_1\.txt.*every period from 0 to the last"),
        ({0: "a x\na y\n", 1: ""}, r"period_1\.txt: is empty; expected one click a line"),
        ({0: "a x\na\n", 1: "a x\n"}, r"period_0\.txt, line 2: 'a': expected 'SESSION ITEM'"),
        ({0: "a x\na y\n"}, r"0 cycles need 1 periods and at least one cycle.* has 1 periods"),
    ],
    ids=["gap in the periods", "empty period", "malformed line", "one period only"],
)
def test_evaluate_names_what_is_wrong_before_it_trains(
    tmp_path: Path, files: dict[int, str], message: str
) -> None:
    for number, text in files.items():
        (tmp_path / f"period_{number}.txt").write_text(text)
    options = ["--dataset", str(tmp_path), "--out", str(tmp_path / "out.json")]
    with pytest.raises(DatasetError, match=message):
        CliRunner().invoke(evaluate, options, catch_exceptions=False)
    assert not (tmp_path / "out.json").exists()


def test_evaluate_names_a_period_that_was_not_downloaded_whole(tmp_path: Path) -> None:
    whole = gzip.compress(b"a x\na y\n" * 99)
    (tmp_path / "period_0.txt.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "period_1.txt").write_text("a x\n")
    options = ["--dataset", str(tmp_path), "--out", str(tmp_path / "out.json")]
    with pytest.raises(DatasetError, match=r"period_0\.txt\.gz: cannot be read"):
        CliRunner().invoke(evaluate, options, catch_exceptions=False)


@pytest.mark.parametrize("session", ["sku", (1, 2), Session("visit", ("a", "b"), (1, 2))], ids=str)
def test_a_session_that_is_no_sequence_of_item_ids_is_refused(tiny: Recipe, session: Any) -> None:
    with pytest.raises(InputError, match=r"sessions: the first one is .*expected item ids as text"):
        train_cycle([session], None, tiny, 0)


@pytest.mark.parametrize("seed", [-1, 0.5, "a"])
def test_a_seed_that_is_none_is_refused(tiny: Recipe, block: Blocks, seed: Any) -> None:
    with pytest.raises(InputError, match=r"seed = \S+: expected a whole number from 0 on"):
        train_cycle(block(0, 12), None, tiny, seed)


def test_sessions_of_one_click_teach_items_and_are_no_target(tiny: Recipe, block: Blocks) -> None:
    blocks = [[*block(0, 12), ("lonely",)], [("lonely",), ("item-1", "lonely")]]
    [result] = run_cycles(blocks, tiny, 0)
    assert result.counts.targets == 1
    assert result.counts.unknown == 0


def test_block_of_single_clicks_cannot_be_trained_on(tiny: Recipe) -> None:
    with pytest.raises(TrainingError, match="3 sessions with 3 clicks hold no sub-sequence"):
        next(run_cycles([[("a",), ("b",), ("c",)], [("a", "b")]], tiny, 0))


def test_block_without_a_known_target_has_no_score(tiny: Recipe, block: Blocks) -> None:
    [result] = run_cycles([block(0, 12), [("new", "newer"), ("item-1",)]], tiny, 0)
    entry = as_json(result)
    assert (entry["targets"], entry["unknown_items"]) == (0, 2)
    assert "recall@20" not in entry


def test_item_seen_once_is_known_unless_the_recipe_asks_for_more(
    tiny: Recipe, block: Blocks
) -> None:
    sessions = [*block(0, 12), ("item-1", "once")]
    state = train_cycle(sessions, None, replace(tiny, max_epochs=1), 0, lambda _: None).state
    assert state.vocabulary.index("once") == 13
    strict = replace(tiny, max_epochs=1, min_item_count=2)
    state = train_cycle(sessions, None, strict, 0, lambda _: None).state
    assert state.vocabulary.index("once") is None


@pytest.mark.parametrize("name", sorted(METHODS))
def test_catalogue_of_one_item_is_always_right(tiny: Recipe, name: str) -> None:
    blocks = [[("a", "a", "a")] * 20] * 3
    for result in run_cycles(blocks, tiny, 0, method(name)):
        assert result.counts.percentages()["mrr@20"] == 100


def test_large_item_ids_make_no_large_table(tiny: Recipe) -> None:
    state = train_cycle([("1000000", "999999")] * 9, None, tiny, 0, lambda _: None).state
    assert len(state.weights["items.weight"]) == 2


def test_a_million_items_in_a_few_sub_sequences_are_trained(tiny: Recipe) -> None:
    lonely: Block = [(str(item),) for item in range(1_000_000)]
    blocks = [[*lonely, *[("1", "2", "3")] * 8], [("1", "2")]]
    recipe = replace(tiny, hidden=2, max_epochs=1, patience=1)
    [result] = run_cycles(blocks, recipe, 0)
    assert (result.report.items, result.counts.targets) == (1_000_000, 1)
