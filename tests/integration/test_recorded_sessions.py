"""A folder of session files through Kafka: the short form of `tests.chaos.recorded_sessions`."""

from __future__ import annotations

from pathlib import Path

from ader_stream.types import DAY_MS, BlockRule
from tests.chaos.recorded_sessions import Run, replay_through_kafka
from tests.integration.simulated import simulated_clicks
from tests.integration.system import Kafka

PERIODS = 2
WALKS = 120


def write_periods(folder: Path) -> None:
    folder.mkdir()
    for number, clicks in enumerate(simulated_clicks(BlockRule(0, DAY_MS), PERIODS, WALKS)):
        lines = "".join(f"{click.key} {click.item}\n" for click in clicks)
        (folder / f"period_{number}.txt").write_text(lines)


def test_a_rebalance_after_a_kill_skips_no_click_and_gives_exactly_the_files_sessions(
    kafka: Kafka, tmp_path: Path
) -> None:
    dataset = tmp_path / "shop"
    write_periods(dataset)
    run = Run("shop", PERIODS, partitions=4, workers=2, kills=1, rate=200)
    outcome = replay_through_kafka(kafka.bootstrap_servers, tmp_path, dataset, run)
    assert outcome.sessions.expected > 100
    assert min(outcome.unread) > 100, "killed too late to prove anything"
    assert outcome.sessions.is_clean, outcome
