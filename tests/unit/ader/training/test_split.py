from __future__ import annotations

from dataclasses import replace
from itertools import chain

import numpy as np
import pytest

from ader_stream.ader.artifact.parts import encode_parts
from ader_stream.ader.artifact.state import State
from ader_stream.ader.cycle import train_cycle
from ader_stream.ader.data.dataset import Samples
from ader_stream.ader.data.encoded_block import EncodedBlock
from ader_stream.ader.data.vocabulary import Vocabulary
from ader_stream.ader.methods import METHODS
from ader_stream.ader.recipes import PAPER, PRODUCTION, Recipe
from ader_stream.ader.report import CycleReport
from ader_stream.ader.training.split import Split, split_block

Block = list[tuple[str, ...]]
Parts = dict[str, bytes]

SEED = 3

SMALL = {"hidden": 8, "maxlen": 6, "batch_size": 32, "exemplars": 60, "validation_share": 0.3}
SESSIONS = replace(PRODUCTION, **SMALL, max_epochs=2)
SAMPLES = replace(SESSIONS, validation_unit="samples")
ONE_EPOCH = replace(PAPER, **SMALL, max_epochs=1)  # validation chooses among epochs, so of one


def walks(seed: int, count: int = 120) -> Block:
    """Sessions of one to seven clicks; the first one shows every item, so it orders them."""
    rng = np.random.default_rng(seed)
    items = [f"item-{n}" for n in range(30)]
    drawn = [tuple(rng.choice(items, size=n).tolist()) for n in rng.integers(1, 8, size=count)]
    return [(*items, items[0]), *drawn]


def split(sessions: Block, recipe: Recipe, known: Vocabulary | None = None) -> Split:
    return split_block(sessions, known or Vocabulary(), recipe, np.random.default_rng(5))


def sequences(samples: Samples) -> list[list[int]]:
    """Inputs with their targets."""
    ends = zip(samples.starts, samples.targets + 1, strict=True)
    return [samples.items[start:end].tolist() for start, end in ends]


def cycle(
    sessions: Block, parent: State | None, recipe: Recipe, method: str = "ader"
) -> tuple[State, CycleReport]:
    result = train_cycle(sessions, parent, recipe, SEED, lambda _: None, METHODS[method])
    return result.state, result.report


def held_out_targets(sessions: Block, parent: State | None, recipe: Recipe) -> set[int]:
    """Positions of what a cycle has held out, in the block's clicks end to end."""
    held = train_cycle(sessions, parent, recipe, SEED, lambda _: None).held_out
    assert len(held.items) == sum(map(len, sessions)), "every item is known"
    return set(held.targets.tolist())


def poisoned(sessions: Block, held: set[int], items: list[str]) -> Block:
    """Replace every click that no sub-sequence shows whose target is learnt.

    The first session stays: in the paper the vocabulary is of the whole block, and it orders it.
    """
    rng = np.random.default_rng(9)
    first, *others = sessions
    changed, position = [first], len(first)
    for session in others:
        places = range(position, position + len(session))
        learnt = [n for n, place in enumerate(places) if n and place not in held]
        kept = max(learnt, default=-1 if len(session) > 1 else 0) + 1
        changed.append((*session[:kept], *rng.choice(items, size=len(session) - kept).tolist()))
        position += len(session)
    return changed


def parts_after(blocks: list[Block], recipe: Recipe, method: str, items: list[str]) -> list[Parts]:
    """Return the parts of two versions, from sound blocks and from poisoned ones."""
    parts: list[Parts] = []
    for is_poisoned in (False, True):
        state: State | None = None
        for sessions in blocks:
            held = held_out_targets(sessions, state, recipe)
            changed = poisoned(sessions, held, items)
            assert sum(map(str.__ne__, chain(*changed), chain(*sessions))) > 20
            state, report = cycle(changed if is_poisoned else sessions, state, recipe, method)
        assert state is not None
        parts.append({**encode_parts(state), "frequent": repr(report.frequent_items).encode()})
    return parts


def test_held_out_sessions_share_no_click_with_those_that_are_learnt() -> None:
    numbered = [tuple(f"{n}-{place}" for place in range(n % 5 + 1)) for n in range(50)]
    found = split(numbered, SESSIONS)
    assert not len(found.validation), "no item of theirs is in another session"
    kept = [all(map(found.vocabulary.index, session)) for session in numbered]
    having = [len(session) > 1 for session in numbered]
    assert sum(kept) == sum(having) - round(0.3 * sum(having)) + having.count(False)
    assert len(found.training) == sum(len(s) - 1 for s, k in zip(numbered, kept, strict=True) if k)


def test_every_sub_sequence_is_learnt_or_held_out() -> None:
    for recipe in (SESSIONS, SAMPLES):
        found = split(walks(0), recipe)
        both = [*found.training.targets, *found.validation.targets]
        whole = split(walks(0), replace(recipe, validation_share=0.0)).training
        assert sorted(both) == sorted(whole.targets)
        assert len(found.validation) == pytest.approx(0.3 * len(both), rel=0.2)


def test_the_vocabulary_of_later_draws_the_same_split() -> None:
    first = split(walks(0), SESSIONS)
    again = split(walks(0), SESSIONS, first.vocabulary)
    assert again.vocabulary is first.vocabulary
    assert again.validation.targets.tolist() == first.validation.targets.tolist()


def test_candidates_are_the_whole_block_only_where_the_paper_says_so() -> None:
    assert len(split(walks(0), SESSIONS).candidates) == len(split(walks(0), SESSIONS).training)
    found = split(walks(0), SAMPLES)
    assert len(found.candidates) == len(found.training) + len(found.validation)


@pytest.mark.parametrize("method", ["ader", "ewc", "er-loss", "ader-equal"])
def test_held_out_sessions_change_no_byte_of_a_version(method: str) -> None:
    items = [*(f"new-{n}" for n in range(20)), *(f"item-{n}" for n in range(30))]
    sound, spoilt = parts_after([walks(0), walks(1)], SESSIONS, method, items)
    assert sound == spoilt


@pytest.mark.parametrize("recipe", [SAMPLES, ONE_EPOCH], ids=["core", "sasrec"])
def test_held_out_sub_sequences_change_no_byte_that_is_learnt(recipe: Recipe) -> None:
    """The exemplars are chosen among them, too, when the version is trained: so does the paper."""
    items = [f"item-{n}" for n in range(30)]
    sound, spoilt = parts_after([walks(0)], recipe, "ader", items)
    assert sound.pop("exemplars") != spoilt.pop("exemplars")
    assert sound == spoilt


def test_the_sub_sequences_that_are_learnt_do_change_a_version() -> None:
    sessions = walks(0)
    held = held_out_targets(sessions, None, SESSIONS)
    everything = set(range(sum(map(len, sessions))))
    changed = poisoned(sessions, everything - held, [f"item-{n}" for n in range(30)])
    one, other = (encode_parts(cycle(block, None, SESSIONS)[0]) for block in (sessions, changed))
    assert all(one[kind] != other[kind] for kind in ("weights", "exemplars"))


def test_without_patience_validation_decides_nothing() -> None:
    _, report = cycle(walks(0), None, replace(SESSIONS, learning_rate=0.5, max_epochs=4))
    assert len(report.validation) == report.epochs == report.best_epoch == 4


def test_a_first_click_counts_only_where_something_after_it_is_learnt() -> None:
    block = EncodedBlock.of([[1, 2, 3], [4, 5], [6]], maxlen=9)
    held = block.without(np.array([2, 4]))
    assert held.clicks(6).tolist() == [1, 1, 0, 0, 0, 1]
    assert held.training_samples().labels.tolist() == [2]


def test_a_parent_sees_the_clicks_that_it_knows() -> None:
    block = EncodedBlock.of([[1, 9, 2, 3], [9, 3]], maxlen=9).without(np.array([2]))
    seen = block.known_to(3)
    assert sequences(seen.training_samples()) == [[1, 2, 3]]
    assert sequences(seen.held_out_samples()) == [[1, 2]]
