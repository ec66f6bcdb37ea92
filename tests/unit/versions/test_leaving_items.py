"""A catalogue that items leave, before the gate and over many blocks."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from ader_stream.ader.artifact.parts import encode_parts
from ader_stream.ader.artifact.state import State
from ader_stream.ader.cycle import train_cycle
from ader_stream.ader.data.dataset import Samples
from ader_stream.ader.data.vocabulary import Vocabulary
from ader_stream.ader.methods import ADER
from ader_stream.ader.recipes import PRODUCTION
from ader_stream.ader.report import CycleReport
from ader_stream.ader.retention import Retention
from ader_stream.versions.attempt import Attempt, Watch, attempt_cycle
from ader_stream.versions.gate.measured import Measured
from ader_stream.versions.gate.verdict import measure, validation_samples
from tests.unit.versions.conftest import ASKS_NOTHING

Block = list[tuple[str, ...]]

SEED, WEEKS = 0, 100
ON_SALE, STAYING = 60, 20
RECIPE = replace(
    PRODUCTION, hidden=8, maxlen=5, max_epochs=1, batch_size=64, exemplars=100, learning_rate=0.02
)


def week(number: int, visits: int = 60) -> Block:
    """Visits along the shelves of a shop that has replaced two thirds of its items."""
    rng = np.random.default_rng(number)
    items = [f"evergreen-{n}" for n in range(STAYING)]
    items += [f"week-{number}-{n}" for n in range(ON_SALE - STAYING)]
    starts, lengths = rng.integers(ON_SALE, size=visits), rng.integers(2, 6, size=visits)
    return [
        tuple(items[(start + 7 * step) % ON_SALE] for step in range(length))
        for start, length in zip(starts, lengths, strict=True)
    ]


def attempt(block: Block, parent: State | None, blocks: int) -> Attempt:
    method = replace(ADER, retention=Retention(blocks))
    watch = Watch(lambda _: None, lambda: None)
    return attempt_cycle(block, parent, RECIPE, SEED, ASKS_NOTHING, watch, method=method)


@dataclass(frozen=True)
class Size:
    items: int
    rows: int
    bytes: int

    @classmethod
    def of(cls, state: State) -> Size:
        rows = max(len(tensor) for tensor in state.weights.values() if tensor.dim())
        return cls(len(state.vocabulary), rows, sum(map(len, encode_parts(state).values())))


def run(weeks: int, blocks: int) -> tuple[list[Size], list[str]]:
    """Sizes of the versions of so many weeks, and why some of them were rejected."""
    state: State | None = None
    sizes, rejections = [], []
    for number in range(weeks):
        made = attempt(week(number), state, blocks)
        if made.rejection:
            rejections.append(f"{number}: {made.rejection}")
        else:
            state = made.state
        assert state
        sizes.append(Size.of(state))
    return sizes, rejections


def test_a_shop_that_renews_itself_every_week_stays_as_large_as_it_is() -> None:
    sizes, rejections = run(WEEKS, blocks=4)
    assert rejections == []
    early, late = sizes[WEEKS // 4 : WEEKS // 2], sizes[WEEKS // 2 :]
    assert max(each.items for each in late) <= 1.05 * max(each.items for each in early)
    assert max(each.bytes for each in late) <= 1.05 * max(each.bytes for each in early)
    assert max(each.items for each in late) < WEEKS * (ON_SALE - STAYING) / 8
    assert all(each.rows == each.items for each in sizes)


def test_by_default_it_has_all_that_it_ever_had() -> None:
    sizes, _ = run(8, blocks=0)
    ever = {item for number in range(8) for visit in week(number) for item in visit}
    assert sizes[-1].items == len(ever)


@pytest.fixture(scope="module")
def leaving() -> tuple[State, State, CycleReport]:
    """A version, and the one after it, with which some of its items have left."""
    recipe = replace(RECIPE, exemplars=20)
    parent = train_cycle(week(0), None, recipe, SEED, lambda _: None).state
    method = replace(ADER, retention=Retention(1))
    result = train_cycle(week(1), parent, recipe, SEED, lambda _: None, method)
    child, report = result.state, result.report
    assert report.left_items
    return parent, child, report


NONE_HELD_OUT = Samples(np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0, np.int64))


def at_the_gate(parent: State, child: State, left: int) -> Measured:
    samples = validation_samples(NONE_HELD_OUT, week(1), child)
    return measure(samples, parent, child, lambda: None, left=left)


def test_a_version_without_the_items_that_left_is_held_against_what_is_left_of_its_parent(
    leaving: tuple[State, State, CycleReport],
) -> None:
    parent, child, report = leaving
    found = at_the_gate(parent, child, report.left_items)
    assert found.renamed == found.unranked == 0
    assert found.report().exemplar_recall20 is not None
    assert len(child.vocabulary) == report.items < len(parent.vocabulary) + report.new_items


def test_an_item_that_left_unsaid_is_one_that_was_renamed(
    leaving: tuple[State, State, CycleReport],
) -> None:
    parent, child, report = leaving
    items = list(child.vocabulary.items)
    for row in (0, 1):
        items[row] = f"nobody knows {row}"
    spoilt = replace(child, vocabulary=Vocabulary.of(items))
    assert at_the_gate(parent, spoilt, report.left_items).renamed >= 2


def test_items_in_each_others_places_are_found_where_others_have_left(
    leaving: tuple[State, State, CycleReport],
) -> None:
    parent, child, report = leaving
    items = list(child.vocabulary.items)
    items[:2] = items[1::-1]
    spoilt = replace(child, vocabulary=Vocabulary.of(items))
    assert at_the_gate(parent, spoilt, report.left_items).renamed == 2
