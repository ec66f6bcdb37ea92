from __future__ import annotations

from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
import torch

from ader_stream.ader.artifact.parts import encode_parts
from ader_stream.ader.artifact.state import State
from ader_stream.ader.cycle import CycleResult, train_cycle
from ader_stream.ader.data.arrays import Bools, Int32
from ader_stream.ader.data.string_table import StringTable
from ader_stream.ader.data.vocabulary import Vocabulary
from ader_stream.ader.exemplars.selection import Exemplars
from ader_stream.ader.methods import ADER
from ader_stream.ader.models.co_clicks import CoClicks
from ader_stream.ader.recipes import PAPER, PRODUCTION, Recipe
from ader_stream.ader.report import CycleReport
from ader_stream.ader.retention import FOREVER, Retention

Block = list[tuple[str, ...]]

SEED = 3
SMALL = {"hidden": 8, "maxlen": 5, "max_epochs": 2, "batch_size": 32}
RECIPES = {
    "paper": replace(PAPER, **SMALL, exemplars=0),
    "production": replace(PRODUCTION, **SMALL, exemplars=0),
}
PRODUCTION_ = RECIPES["production"]
SEASONS = ("spring", "summer", "autumn", "winter")


def walks(season: str, items: int = 8, count: int = 40) -> Block:
    """Sessions of two to four clicks among the items of one season."""
    rng = np.random.default_rng(len(season))
    starts, lengths = rng.integers(items, size=count), rng.integers(2, 5, size=count)
    return [
        tuple(f"{season}-{(start + step) % items}" for step in range(length))
        for start, length in zip(starts, lengths, strict=True)
    ]


def items_of(*seasons: str) -> set[str]:
    return set(chain.from_iterable(chain.from_iterable(map(walks, seasons))))


def trained(
    block: Block, parent: State | None, recipe: Recipe, retention: Retention = FOREVER
) -> CycleResult:
    method = replace(ADER, retention=retention)
    return train_cycle(block, parent, recipe, SEED, lambda _: None, method)


def cycle(
    block: Block, parent: State | None, recipe: Recipe, retention: Retention = FOREVER
) -> tuple[State, CycleReport]:
    result = trained(block, parent, recipe, retention)
    return result.state, result.report


def chained(
    blocks: list[Block], recipe: Recipe = PRODUCTION_, retention: Retention = FOREVER
) -> tuple[State, CycleReport]:
    state: State | None = None
    for block in blocks:
        state, report = cycle(block, state, recipe, retention)
    assert state
    return state, report


def known_to(state: State) -> set[str]:
    return set(state.vocabulary.items)


def idle_state(idle: list[int], exemplars: Exemplars) -> State:
    state, _ = cycle([tuple(f"item-{n}" for n in range(len(idle)))], None, PRODUCTION_)
    return replace(state, idle=np.array(idle, np.int32), exemplars=exemplars)


# --- who is due


@pytest.mark.parametrize(
    ("retention", "due"),
    [
        (Retention(0), []),
        (Retention(1), [1, 2, 3]),
        (Retention(2), [2, 3]),
        (Retention(4), [3]),
        (Retention(4, elapsed=3), [2, 3]),
        (Retention(9), []),
    ],
)
def test_an_item_is_due_that_was_clicked_in_none_of_so_many_blocks(
    retention: Retention, due: list[int]
) -> None:
    state = idle_state([0, 0, 1, 3], Exemplars(np.array([1, 1], np.int32), np.array([0, 2])))
    assert np.flatnonzero(retention.due(state)).tolist() == due


def test_an_item_that_an_exemplar_holds_is_never_due() -> None:
    held = Exemplars(np.array([3, 1], np.int32), np.array([0, 2]))
    assert np.flatnonzero(Retention(1).due(idle_state([9, 9, 9], held))).tolist() == [1]


# --- what follows the items


def kept(*rows: int, of: int) -> Bools:
    return np.isin(np.arange(of), rows)


def test_ids_that_stay_keep_their_order_and_are_found() -> None:
    vocabulary = Vocabulary(StringTable.of(["hat", "", "shöe", "sock"])).keep(kept(1, 2, of=4))
    assert list(vocabulary.items) == ["", "shöe"]
    assert [vocabulary.index(item) for item in ("hat", "", "shöe", "sock")] == [None, 1, 2, None]


def test_no_item_need_stay() -> None:
    assert not len(Vocabulary.of(["hat"]).keep(kept(of=1)))


def test_exemplars_are_renumbered_and_one_without_an_item_leaves() -> None:
    exemplars = Exemplars(np.array([1, 3, 2, 3, 4, 1, 4], np.int32), np.array([0, 2, 5, 7]))
    left = exemplars.keep(kept(0, 2, 3, of=4))
    assert (left.items.tolist(), left.offsets.tolist()) == ([1, 2, 1, 3], [0, 2, 4])


def test_who_leaves_is_nobodys_companion_and_the_others_move_up() -> None:
    items, counts = np.zeros((3, 8), np.int32), np.zeros((3, 8), np.float32)
    items[:, :3], counts[:, :3] = [[2, 3, 1], [1, 3, 0], [2, 0, 0]], [[9, 5, 2], [4, 3, 0], [1] * 3]
    left = CoClicks(items, counts).keep(kept(0, 2, of=3))
    assert left.items[:, :3].tolist() == [[2, 1, 0], [0, 0, 0]]
    assert left.counts[:, :3].tolist() == [[5, 2, 0], [0, 0, 0]]


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_of_a_version_the_rows_of_what_stays_are_left(recipe: Recipe) -> None:
    state, _ = chained([walks("spring"), walks("summer")], recipe)
    summer = np.array([item.startswith("summer") for item in state.vocabulary.items])
    left = state.keep(summer)
    assert known_to(left) == items_of("summer")
    whole = {**state.weights, **state.optimizer}
    for name, tensor in {**left.weights, **left.optimizer}.items():
        by_item = name == "clicks" or (name.startswith("items.") and tensor.dim() == 2)
        if by_item or name == "together":
            assert torch.equal(tensor, whole[name][torch.from_numpy(summer)])
        elif name != "companions":
            assert torch.equal(tensor, whole[name])


def test_a_version_of_which_all_stays_is_the_same() -> None:
    state, _ = chained([walks("spring")])
    assert state.keep(np.ones(len(state.vocabulary), np.bool_)) is state


# --- a cycle


def test_an_item_leaves_after_so_many_blocks_and_never_by_default() -> None:
    seasons = [walks(season) for season in SEASONS]
    assert known_to(chained(seasons)[0]) == items_of(*SEASONS)
    state, report = chained(seasons, retention=Retention(3))
    assert known_to(state) == items_of(*SEASONS[1:])
    assert report.left_items == len(items_of("spring"))
    assert report.recall_at_risk == 0.0


def test_an_item_that_is_clicked_in_time_stays_and_is_counted() -> None:
    spring = walks("spring")
    state, report = chained(
        [spring, walks("summer"), walks("autumn"), spring[:1]], retention=Retention(3)
    )
    assert set(spring[0]) <= known_to(state)
    assert report.left_items == len(items_of("spring") - set(spring[0]))
    assert report.recall_at_risk == 100.0


def test_items_of_exemplars_stay() -> None:
    recipe = replace(PRODUCTION_, exemplars=20)
    state, _ = chained([walks("spring")] + [walks("summer")] * 4, recipe, Retention(2))
    of_exemplars = {state.vocabulary.item(n) for n in state.exemplars.items.tolist()}
    assert of_exemplars & items_of("spring")
    assert known_to(state) >= of_exemplars
    assert known_to(state) - of_exemplars <= items_of("summer")


def test_a_joined_block_counts_as_many() -> None:
    first, _ = cycle(walks("spring"), None, PRODUCTION_)
    assert cycle(walks("summer"), first, PRODUCTION_, Retention(4))[1].left_items == 0
    state, report = cycle(walks("summer"), first, PRODUCTION_, Retention(4, elapsed=4))
    assert report.left_items == len(items_of("spring"))
    assert not state.idle.any()


def test_what_comes_back_is_new() -> None:
    retention = Retention(2)
    frozen = replace(PRODUCTION_, learning_rate=1e-30)
    gone = [walks("spring"), walks("summer"), walks("autumn")]
    before, _ = chained(gone, frozen, retention)
    state, report = cycle(walks("spring"), before, frozen, retention)
    assert report.new_items == len(items_of("spring"))
    once, _ = cycle(walks("spring"), None, frozen)
    row, first = (each.vocabulary.index("spring-0") for each in (state, once))
    assert row and first
    rows = state.weights["items.weight"][row - 1], once.weights["items.weight"][first - 1]
    assert not torch.equal(*rows)
    block_clicks = sum(session.count("spring-0") for session in walks("spring"))
    assert state.weights["clicks"][row - 1] == pytest.approx(block_clicks, rel=0.01)


def test_a_click_that_is_held_out_keeps_no_item() -> None:
    """Or what was held out would have reached the version."""
    recipe = replace(PRODUCTION_, validation_share=0.3)
    parent, _ = cycle(walks("spring"), None, recipe)
    summer = walks("summer", count=60)
    quiet = trained(summer, parent, recipe, Retention(1))
    starts = np.concatenate([[0], np.cumsum([len(session) for session in summer])])
    held_out = np.unique(np.searchsorted(starts, quiet.held_out.targets, side="right") - 1)
    spring = sorted(items_of("spring"))
    poisoned = [
        (spring[n % len(spring)],) * len(session) if n in held_out else session
        for n, session in enumerate(summer)
    ]
    loud, report = cycle(poisoned, parent, recipe, Retention(1))
    assert report.left_items >= len(spring)
    assert encode_parts(loud) == encode_parts(quiet.state)


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_a_cycle_that_items_leave_in_comes_to_the_same_bytes_again(recipe: Recipe) -> None:
    blocks = [walks(season) for season in SEASONS]
    one, other = (encode_parts(chained(blocks, recipe, Retention(2))[0]) for _ in range(2))
    assert one == other


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_while_nobody_leaves_the_rule_changes_no_byte(recipe: Recipe) -> None:
    blocks = [walks(season) for season in SEASONS]
    without, _ = chained(blocks, recipe)
    assert encode_parts(chained(blocks, recipe, Retention(9))[0]) == encode_parts(without)
    assert idle_of(without) == {season: age for age, season in enumerate(reversed(SEASONS))}


def idle_of(state: State) -> dict[str, int]:
    named: zip[tuple[str, Int32]] = zip(state.vocabulary.items, state.idle.tolist(), strict=True)
    return {item.split("-")[0]: idle for item, idle in named}  # type: ignore[misc]
