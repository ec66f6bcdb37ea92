"""The same clicks come to the same statistics, into however many blocks they are cut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ader_stream.ader.data.encoded_block import EncodedBlock
from ader_stream.ader.data.evidence import Decay
from ader_stream.ader.models.base import Architecture
from ader_stream.ader.models.co_clicks import PARTNERS, CoClicks
from ader_stream.ader.models.core import Core

ITEMS = PARTNERS + 1
"""So few that nobody's company is cut short."""

QUICK = Decay(20.0)
"""So quick that what fades by blocks would show."""

sessions = st.lists(
    st.lists(st.integers(1, ITEMS), min_size=1, max_size=6), min_size=1, max_size=60
)
cuts = st.sampled_from([2, 10, 100])


def blocks_of(sessions: Sequence[list[int]], count: int) -> Iterator[EncodedBlock]:
    """Cut sessions into blocks of about the same size; some of them are empty."""
    ends = np.linspace(0, len(sessions), count + 1).astype(int)
    for first, last in pairwise(ends.tolist()):
        yield EncodedBlock.of(sessions[first:last], maxlen=9)


@given(sessions, cuts)
def test_clicks_count_alike(sessions: list[list[int]], cuts: int) -> None:
    counted = []
    for count in (1, cuts):
        core = Core(Architecture(8, 0, 9, encoder="core"), ITEMS)
        for block in blocks_of(sessions, count):
            core.update_statistics(block)
        counted.append(core.clicks.tolist())
    assert counted[1] == pytest.approx(counted[0], rel=1e-4)


@given(sessions, cuts)
def test_clicks_fade_alike(sessions: list[list[int]], cuts: int) -> None:
    whole, summed = EncodedBlock.of(sessions, 9), np.zeros(ITEMS)
    for block in blocks_of(sessions, cuts):
        summed = QUICK.kept(block.counted) * summed + block.weighed_clicks(ITEMS, QUICK)
    assert summed == pytest.approx(whole.weighed_clicks(ITEMS, QUICK))


@given(sessions, cuts)
def test_company_counts_and_fades_alike(sessions: list[list[int]], cuts: int) -> None:
    found = []
    for count in (1, cuts):
        companions = CoClicks.none()
        for block in blocks_of(sessions, count):
            companions = companions.after(block, ITEMS, QUICK)
        pairs = np.zeros((ITEMS, ITEMS + 1))
        np.put_along_axis(pairs, companions.items.astype(int), companions.counts, axis=1)
        found.append(pairs[:, 1:])
    assert found[1] == pytest.approx(found[0], rel=1e-3, abs=2e-3)


@given(st.lists(st.booleans(), min_size=1, max_size=30))
def test_what_is_held_out_neither_counts_nor_fades_anything(held_out: list[bool]) -> None:
    items = [[1 + number % ITEMS] for number in range(len(held_out))]
    block = EncodedBlock.of(items, 9, np.array(held_out))
    without = EncodedBlock.of([own for own, out in zip(items, held_out, strict=True) if not out], 9)
    assert block.counted == without.counted
    weighed = block.weighed_clicks(ITEMS, QUICK)
    assert torch.equal(
        torch.from_numpy(weighed), torch.from_numpy(without.weighed_clicks(ITEMS, QUICK))
    )
