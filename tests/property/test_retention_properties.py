from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ader_stream.ader.artifact.state import State
from ader_stream.ader.cycle import train_cycle
from ader_stream.ader.data.vocabulary import renumbered
from ader_stream.ader.recipes import PAPER, PRODUCTION

ITEMS, GROUPS = 24, 6
SMALL = {"hidden": 8, "maxlen": 4, "max_epochs": 1, "batch_size": 64, "exemplars": 20}
RECIPES = {"paper": replace(PAPER, **SMALL), "production": replace(PRODUCTION, **SMALL)}

masks = st.lists(st.booleans(), min_size=GROUPS, max_size=GROUPS).filter(any)


@cache
def version(name: str) -> State:
    """Items that keep company within their group alone."""
    rng = np.random.default_rng(0)
    sessions = [
        tuple(f"item-{group + GROUPS * n}" for n in rng.integers(ITEMS // GROUPS, size=4))
        for group in rng.integers(GROUPS, size=200)
    ]
    state: State | None = None
    for _ in range(2):
        state = train_cycle(sessions, state, RECIPES[name], 0, lambda _: None).state
    assert state
    assert len(state.vocabulary) == ITEMS
    blended = {"blend": torch.tensor(0.4)} if "blend" in state.weights else {}
    return replace(state, weights=state.weights | blended)


@pytest.mark.parametrize("name", RECIPES)
@given(masks)
def test_letting_items_leave_and_asking_is_asking_and_leaving_them_out(
    name: str, groups: list[bool]
) -> None:
    state = version(name)
    kept = np.array([groups[int(item[5:]) % GROUPS] for item in state.vocabulary.items])
    left, rows = state.keep(kept), torch.from_numpy(kept)
    places = torch.from_numpy(renumbered(kept)).long()
    session = 1 + torch.from_numpy(np.flatnonzero(kept))[None, :4]
    whole, model = state.model(), left.model()
    assert torch.equal(whole.ranked_table()[rows], model.ranked_table())
    with torch.no_grad():
        asked = whole.scores(session, whole.ranked_table())[:, rows]
        again = model.scores(places[session], model.ranked_table())
    assert torch.equal(again, asked)


@pytest.mark.parametrize("name", RECIPES)
@given(masks, masks)
def test_items_that_leave_one_after_the_other_leave_what_leaving_together_does(
    name: str, first: list[bool], second: list[bool]
) -> None:
    state = version(name)
    groups = np.array([int(item[5:]) % GROUPS for item in state.vocabulary.items])
    stays, continues = np.array(first)[groups], np.array(second)[groups]
    one, other = state.keep(stays).keep(continues[stays]), state.keep(stays & continues)
    assert list(one.vocabulary.items) == list(other.vocabulary.items)
    assert np.array_equal(one.exemplars.items, other.exemplars.items)
    assert all(torch.equal(tensor, other.weights[name]) for name, tensor in one.weights.items())
