"""Distances of counts: the laws of a divergence."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ader_stream.drift.distances import entropy, jensen_shannon, js_distance, psi, psi_distance

counts = st.lists(st.integers(0, 10_000), min_size=6, max_size=6).map(np.array)


@pytest.mark.parametrize("distance", [psi, jensen_shannon])
@given(one=counts, other=counts)
def test_distances_are_symmetric_not_negative_and_zero_of_equals(distance, one, other) -> None:
    assert distance(one, other) >= 0
    assert distance(one, other) == pytest.approx(distance(other, one), abs=1e-12)
    assert distance(one, one) == pytest.approx(0, abs=1e-12)


@given(one=counts, other=counts)
def test_divergence_is_at_most_one_bit(one, other) -> None:
    assert jensen_shannon(one, other) <= 1 + 1e-12


@given(one=counts)
def test_entropy_is_a_share(one) -> None:
    assert -1e-12 <= entropy(one) <= 1 + 1e-12


@pytest.mark.parametrize("distance", [psi_distance, js_distance])
@pytest.mark.parametrize("clicks", [300, 3_000, 30_000])
def test_correction_removes_what_few_clicks_add(distance, clicks: int) -> None:
    rng = np.random.default_rng(7)
    shares = rng.dirichlet(np.full(20, 5.0))
    pairs = rng.multinomial(clicks, shares, (400, 2))
    found = [distance(one, other, clicks, clicks) for one, other in pairs]
    plug_in = np.array([each.plug_in for each in found])
    assert plug_in.mean() == pytest.approx(found[0].chance, rel=0.1)
    assert plug_in.std() == pytest.approx(found[0].noise, rel=0.2)
