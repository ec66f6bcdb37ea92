from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ader_stream.ader.data.encoded_block import EncodedBlock
from ader_stream.ader.data.evidence import Decay
from ader_stream.ader.models.co_clicks import PARTNERS, CoClicks

MOST_ITEMS = 30

FADING = Decay(64.0)

sessions = st.lists(st.integers(1, MOST_ITEMS), min_size=1, max_size=12)
histories = st.lists(st.lists(sessions, max_size=15), max_size=4)


def counted_plainly(history: list[list[list[int]]], n_items: int) -> list[list[tuple[int, float]]]:
    """For each item its companions with their counts, the most frequent first."""
    known: list[dict[int, float]] = [{} for _ in range(n_items + 1)]
    for block in history:
        now: list[Counter[int]] = [Counter() for _ in range(n_items + 1)]
        clicks = since = sum(map(len, block))
        for session in block:
            since -= len(session)
            for place, (one, other) in enumerate(pairwise(session), start=2):
                if one != other:
                    weight = 0.5 ** ((since + len(session) - place) / FADING.half_life)
                    now[one][other] += weight  # type: ignore[assignment]
                    now[other][one] += weight  # type: ignore[assignment]
        for item, counts in enumerate(now):
            left = 0.5 ** (clicks / FADING.half_life)
            added = {other: left * count for other, count in known[item].items()}
            for other, count in counts.items():
                added[other] = added.get(other, 0.0) + count
            best = sorted(added.items(), key=lambda pair: (-pair[1], pair[0]))
            known[item] = {other: float(np.float32(count)) for other, count in best[:PARTNERS]}
    return [list(counts.items()) for counts in known[1:]]


@given(histories)
def test_companions_are_those_that_a_plain_count_finds(history: list[list[list[int]]]) -> None:
    companions = CoClicks.none()
    for block in history:
        companions = companions.after(EncodedBlock.of(block, 50), MOST_ITEMS, FADING)
    expected = counted_plainly(history, MOST_ITEMS) if history else []
    found = [
        [(item, count) for item, count in zip(items, counts, strict=True) if item]
        for items, counts in zip(companions.items.tolist(), companions.counts.tolist(), strict=True)
    ]
    assert found == [
        [(item, pytest.approx(count, rel=1e-6)) for item, count in counts] for counts in expected
    ]


@given(histories)
def test_padding_counts_nothing(history: list[list[list[int]]]) -> None:
    companions = CoClicks.none()
    for block in history:
        companions = companions.after(EncodedBlock.of(block, 50), MOST_ITEMS, FADING)
    assert ((companions.items > 0) == (companions.counts > 0)).all()
