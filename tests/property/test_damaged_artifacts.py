from __future__ import annotations

import pytest

from tests.chaos.damaged_artifacts import TRUSTED, damage_many, load, publish, trained
from tests.fakes import FakeKafka

MEMORY = 200 * 2**20
"""Bytes that readers may take, whatever a header or manifest claims: gigabytes, here."""


def test_what_is_not_damaged_is_loaded() -> None:
    kafka, parts = FakeKafka(), trained()
    publish(kafka, parts)
    assert TRUSTED.required
    assert load(kafka) == parts


@pytest.mark.parametrize("seed", [1, 2])
def test_no_damaged_version_is_served_or_crashes_its_reader(seed: int) -> None:
    outcome = damage_many(200, seed)
    assert sum(outcome.refused.values()) + outcome.harmless == 200
    assert outcome.harmless < 20
    assert {"signature", "missing-chunk", "damaged-chunk", "content"} <= set(outcome.refused)
    assert outcome.grown < MEMORY
