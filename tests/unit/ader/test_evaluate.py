from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest

from ader_stream.ader.artifact.parts import encode_parts
from ader_stream.ader.artifact.state import State
from ader_stream.ader.data.vocabulary import Vocabulary
from ader_stream.ader.evaluate import (
    as_json,
    details,
    evaluate,
    score_sessions,
)
from ader_stream.ader.methods import method
from ader_stream.ader.metrics import count_ranks
from ader_stream.ader.models.ranking import rank_targets
from ader_stream.ader.models.sasrec import SASRec
from ader_stream.ader.recipes import Recipe
from ader_stream.artifact import content_digest
from ader_stream.errors import DatasetError
from ader_stream.types import RECIPROCAL_UNIT, Counts

Blocks = Callable[[int, int], list[tuple[str, ...]]]


def digest(state: State) -> str:
    return content_digest(encode_parts(state))


NINE = Vocabulary.of("abcdefghi")


def test_counts_by_hand() -> None:
    counts = count_ranks(np.array([0, 9, 10, 19, 20]))
    u = RECIPROCAL_UNIT
    assert counts == Counts(5, 2, 4, u + u // 10, u + u // 10 + u // 11 + u // 20)


def test_counts_of_nothing_are_zero() -> None:
    assert count_ranks(np.array([], dtype=np.int64)) == Counts()


def test_every_known_click_after_the_first_is_a_target(model: SASRec) -> None:
    counts = score_sessions(model, NINE, [("a", "b", "c"), ("d",), ("e", "f")])
    ranks = rank_targets(model, [[1], [1, 2], [5]], [2, 3, 6])
    assert counts == count_ranks(ranks)


def test_unknown_items_are_no_target_and_join_no_prefix(model: SASRec) -> None:
    counts = score_sessions(model, NINE, [("new", "a", "newer", "b"), ("new", "c")])
    expected = count_ranks(rank_targets(model, [[1]], [2]))
    assert counts == expected + Counts(unknown=3)


def test_sessions_with_nothing_known_score_nothing(model: SASRec) -> None:
    assert score_sessions(model, NINE, [("x", "y")]) == Counts(unknown=2)


def test_of_many_targets_some_are_drawn_the_same_each_time(model: SASRec) -> None:
    sessions = [tuple("abcdefghi"[n % 9 :]) for n in range(40) if n % 9 < 8]
    some, again = (score_sessions(model, NINE, sessions, most=10) for _ in range(2))
    assert some == again
    assert some.targets == 10
    assert score_sessions(model, NINE, sessions, most=1_000) == score_sessions(
        model, NINE, sessions
    )


def test_each_cycle_is_tested_on_the_next_block(tiny: Recipe, block: Blocks) -> None:
    blocks = [block(0, 12), block(1, 14), [("item-0", "item-1", "new")]]
    first, second = evaluate(blocks, tiny, seed=0)
    assert (first.cycle, second.cycle) == (1, 2)
    assert first.report.clicks == sum(map(len, blocks[0]))
    assert second.counts.targets == 1
    assert second.counts.unknown == 1
    assert first.counts.unknown == sum(
        item in ("item-12", "item-13") for session in blocks[1] for item in session
    )


def test_progress_names_its_cycle(tiny: Recipe, block: Blocks) -> None:
    seen: set[int] = set()
    blocks = [block(0, 12)] * 3
    list(evaluate(blocks, tiny, 0, on_progress=lambda cycle, _: seen.add(cycle)))
    assert seen == {1, 2}


@pytest.mark.parametrize(("count", "cycles"), [(1, None), (3, 3), (3, 0)])
def test_too_few_blocks_are_refused(
    tiny: Recipe, block: Blocks, count: int, cycles: int | None
) -> None:
    with pytest.raises(DatasetError, match=f"the data set has {count} periods"):
        next(evaluate([block(0, 12)] * count, tiny, 0, cycles=cycles))


@pytest.mark.parametrize("name", ["ader", "ewc", "joint"])
def test_going_on_after_a_cycle_gives_the_same_as_never_having_stopped(
    tiny: Recipe, block: Blocks, name: str
) -> None:
    blocks = [block(seed, 12) for seed in range(3)]
    first, second = evaluate(blocks, tiny, 0, method(name))
    [again] = evaluate(blocks, tiny, 0, method(name), resumed=(1, first.state))
    assert again.cycle == 2
    assert digest(again.state) == digest(second.state)
    assert again.counts == second.counts


def test_joint_trains_on_all_blocks_so_far(tiny: Recipe, block: Blocks) -> None:
    blocks = [block(seed, 12) for seed in range(3)]
    first, second = evaluate(blocks, tiny, 0, method("joint"))
    assert first.report.sessions == len(blocks[0])
    assert second.report.sessions == len(blocks[0]) + len(blocks[1])
    assert second.report.new_items == second.report.items


def test_result_counts_every_slice(tiny: Recipe, block: Blocks) -> None:
    first, second = evaluate([block(0, 12), block(1, 14), block(2, 14)], tiny, 0)
    assert first.slices["old_items"].targets == 0
    assert 0 < second.slices["new_items"].targets < second.counts.targets
    assert as_json(first)["slices"]["old_items"] == {"targets": 0}  # type: ignore[index]


def test_result_is_plain_json(tiny: Recipe, block: Blocks) -> None:
    entry = as_json(next(evaluate([block(0, 12), block(1, 12)], tiny, 0)))
    assert json.loads(json.dumps(entry)) == entry
    assert {"cycle", "recall@20", "mrr@20", "lambda", "exemplars", "epochs"} <= entry.keys()


def test_forgetting_is_the_newest_version_on_every_earlier_block(
    tiny: Recipe, block: Blocks
) -> None:
    blocks = [block(seed, 12) for seed in range(3)]
    *_, second = evaluate(blocks, tiny, 0)
    entry = details(second.state, blocks)
    earlier = entry["forgetting"]
    assert isinstance(earlier, list)
    assert [part["block"] for part in earlier] == [0, 1]
    model, vocabulary = second.state.model(), second.state.vocabulary
    expected = score_sessions(model, vocabulary, blocks[0]).percentages()
    assert earlier[0]["recall@20"] == expected["recall@20"]
    assert entry["top20"].keys() == {"coverage", "effective_items", "diversity"}  # type: ignore[attr-defined]
    assert json.loads(json.dumps(entry)) == entry
