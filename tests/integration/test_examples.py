"""The example of the documentation that needs a system, run as a reader runs it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from ader_stream.types import DAY_MS
from tests.integration.simulated import simulated_clicks
from tests.integration.system import WAIT_SECONDS, Kafka, System

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "clicks_to_recommendations.py"
BLOCKS = 2


def test_clicks_of_now_are_answered_by_the_newest_version(kafka: Kafka, tmp_path: Path) -> None:
    origin = int(time.time() * 1000) - BLOCKS * DAY_MS  # the blocks end now
    blocks = {"blocks": {"origin": origin, "length": "1d"}}
    with System(kafka.bootstrap_servers, tmp_path, blocks) as system:
        for name in ("sessionizer", "trainer", "inference"):
            system.start(name)
        for block, clicks in enumerate(simulated_clicks(system.settings.block_rule, BLOCKS)):
            system.send(clicks)
            system.end_block(block)
            system.wait_until_served(block)
        topics = (
            ("--clicks", system.topics.clicks),
            (
                "--recommendations",
                system.topics.recommendations,
            ),
        )
        done = subprocess.run(
            [
                *(sys.executable, EXAMPLE, "item-1", "item-2", "item-3"),
                *("--bootstrap-servers", kafka.bootstrap_servers),
                *(text for pair in topics for text in pair),
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=WAIT_SECONDS,
        )
    assert done.returncode == 0, done.stderr
    first, *ranked = done.stdout.splitlines()
    assert first.startswith("session example-")
    assert first.endswith(f", version {BLOCKS}:")
    assert len(ranked) > 0
    assert all(line.split()[1].startswith("item-") for line in ranked)
