from __future__ import annotations

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

from ader_stream.ader.exemplars.herding import HERDING_SLACK, herd

seeds = st.integers(0, 2**32 - 1)


def plainly(unit: npt.NDArray[np.float64], wanted: int) -> list[int]:
    """Herd one label as the paper writes it: O(candidates) work for every step."""
    mean = unit.mean(axis=0)
    w = mean.copy()
    chosen: list[int] = []
    step = 0
    while len(chosen) < wanted and step < HERDING_SLACK * wanted:
        best = int(np.argmax(unit @ w))
        w = w + mean - unit[best]
        step += 1
        if best not in chosen:
            chosen.append(best)
    return chosen


@given(
    seed=seeds,
    # Two candidates are always equally close to their mean: the tie would be rounding's.
    sizes=st.lists(st.sampled_from([1, *range(3, 13)]), min_size=1, max_size=6),
    quotas=st.lists(st.integers(0, 15), min_size=6, max_size=6),
)
def test_all_labels_at_once_choose_as_each_alone(
    seed: int, sizes: list[int], quotas: list[int]
) -> None:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(sizes)), sizes)).astype(np.int32)
    points = rng.normal(size=(len(labels), 7))
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    chosen = herd(points.astype(np.float32), labels, np.array(quotas)).tolist()
    for label, size in enumerate(sizes):
        rows = np.flatnonzero(labels == label)
        expected = rows[plainly(unit[rows], min(quotas[label], size))].tolist()
        assert [row for row in chosen if labels[row] == label] == expected


@given(seed=seeds, distinct=st.integers(1, 4), copies=st.integers(1, 5), quota=st.integers(1, 25))
def test_equal_sub_sequences_are_chosen_at_most_once_each(
    seed: int, distinct: int, copies: int, quota: int
) -> None:
    points = np.random.default_rng(seed).normal(size=(distinct, 5)).astype(np.float32)
    points = np.tile(points, (copies, 1))
    chosen = herd(points, np.ones(len(points), dtype=np.int32), np.array([0, quota]))
    assert len(set(chosen)) == len(chosen) <= min(quota, len(points))
    assert len(chosen) >= 1


def test_what_has_no_direction_is_herded_as_if_it_stood_at_the_origin() -> None:
    points = np.array([[1, 0], [0, 0], [0, 1]], np.float32)
    chosen = herd(points, np.ones(3, np.int32), np.array([0, 2]))
    assert sorted(chosen) == [0, 2]
