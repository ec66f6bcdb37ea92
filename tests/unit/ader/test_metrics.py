from __future__ import annotations

import numpy as np

from ader_stream.ader import metrics
from ader_stream.ader.data.dataset import split_sessions
from ader_stream.ader.metrics import count_ranks, repeated, slice_counts


def test_slices_by_hand() -> None:
    # Targets 2 (after 1), 1 (after 1 2), 5 (after 4), 5 (after 4 5); items 4 and 5 are new.
    samples = split_sessions([[1, 2, 1], [4, 5, 5]], maxlen=50)
    counts = slice_counts(samples, np.array([0, 3, 30, 7]), 3)
    hits = {name: (part.hits20, part.targets) for name, part in counts.items()}
    assert hits == {
        "new_items": (1, 2),
        "old_items": (2, 2),
        "first_click": (1, 2),
        "later_clicks": (2, 2),
        "repeats": (2, 2),
        "discoveries": (1, 2),
    }


def test_a_pair_of_slices_is_the_whole() -> None:
    rng = np.random.default_rng(0)
    samples = split_sessions([rng.integers(1, 9, size=7).tolist() for _ in range(20)], maxlen=4)
    ranks = rng.integers(0, 40, size=len(samples))
    counts = slice_counts(samples, ranks, 5)
    for one, other in (
        ("new_items", "old_items"),
        ("first_click", "later_clicks"),
        ("repeats", "discoveries"),
    ):
        assert counts[one] + counts[other] == count_ranks(ranks)


def test_a_repeat_is_one_that_the_model_can_see() -> None:
    samples = split_sessions([[7, 8, 9, 7]], maxlen=2)
    assert repeated(samples).tolist() == [False, False, False]
    assert repeated(split_sessions([[7, 8, 9, 7]], maxlen=3)).tolist() == [False, False, True]


def test_chunks_change_nothing(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(0)
    samples = split_sessions([rng.integers(1, 9, size=7).tolist() for _ in range(20)], maxlen=50)
    whole = repeated(samples)
    monkeypatch.setattr(metrics, "COMPARED_ROWS", 7)
    assert repeated(samples).tolist() == whole.tolist()
