from __future__ import annotations

import json
from typing import Any

import pytest

from tests.regression.results import RECORDED, machine, record_types, sessionized, trained

LOSS_TOLERANCE = 0.02
"""Of a loss between machines: their float32 sums differ in the last bits, and epochs enlarge it."""


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(RECORDED.read_text("utf-8"))
    return found


def test_versions_are_as_recorded(recorded: dict[str, Any]) -> None:
    now = trained()
    digests = {key: [version.pop("digest") for version in found] for key, found in now.items()}
    for key, found in now.items():
        for version, expected in zip(found, recorded["trained"][key], strict=True):
            losses = expected.pop("losses")
            assert version.pop("losses") == pytest.approx(losses, rel=LOSS_TOLERANCE), key
            assert version == pytest.approx(expected), key
    # The last bits are the same on the same torch and instruction set alone; on others, only the
    # counts and losses above are compared.
    assert digests == recorded["digests"].get(machine(), digests)


def test_the_sessionizers_records_are_as_recorded(recorded: dict[str, Any]) -> None:
    assert sessionized() == recorded["sessionized"]


def test_every_record_type_has_the_recorded_bytes(recorded: dict[str, Any]) -> None:
    assert record_types() == recorded["records"]
