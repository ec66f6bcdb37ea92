"""A short chaos; ``python -m tests.chaos.sessionizers`` is the long one."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from ader_stream.testing.brokers import RealKafka
from tests.chaos.sessionizers import cause_chaos

KILLS = 4


def test_no_session_is_lost_doubled_or_wrong_whichever_process_dies(
    kafka: RealKafka, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = random.randrange(10**6)
    with capsys.disabled():
        print(f"seed {seed}", end=" ")  # noqa: T201 - to repeat the run
    report = cause_chaos(kafka, tmp_path, KILLS, seed)
    assert report.sessions.expected > 100
    assert report.sessions.is_clean, report
