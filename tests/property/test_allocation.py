from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ader_stream.ader.exemplars.selection import AllocationInputs, allocate_within


@given(
    st.lists(st.integers(0, 60), min_size=1, max_size=40).filter(any),
    st.integers(1, 600),
    st.sampled_from([0.0, 0.5, 1.0]),
)
def test_all_are_shared_out_as_far_as_there_are_any(
    counts: list[int], total: int, power: float
) -> None:
    available = np.array([0, *counts])
    weights = np.where(available, available.astype(float) ** power, 0.0)
    wanted = allocate_within(AllocationInputs(weights, available, total, np.random.default_rng(0)))
    assert wanted.sum() == min(total, sum(counts))
    assert (wanted <= available).all()
    short = np.flatnonzero(wanted < available)
    if len(short):
        most = ((wanted - 1)[available > 0] / weights[available > 0]).max()
        least = ((wanted + 1)[short] / weights[short]).min()
        assert most <= least + 1e-9, "who has candidates left is no further behind than one"
