"""The broker goes away in the middle of the work and comes back: clients wait and continue."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import pytest

from tests.integration.simulated import simulated_clicks
from tests.integration.system import Kafka, System
from tests.integration.whole_run import identities, whole_run


class RestartableKafka(Kafka, Protocol):
    """A broker of the tests' own."""

    @property
    def restart(self) -> Callable[[], None]:
        """Takes it away and brings it back."""


def test_a_broker_that_was_away_changes_no_outcome(
    kafka: RestartableKafka, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    untouched = whole_run(kafka.bootstrap_servers, tmp_path_factory.getbasetemp() / "whole-run")
    with System(kafka.bootstrap_servers, tmp_path) as system:
        blocks = simulated_clicks(system.settings.block_rule)
        _, trainer, _ = (system.start(name) for name in ("sessionizer", "trainer", "inference"))
        for block, clicks in enumerate(blocks):
            half = len(clicks) // 2
            system.send(clicks[:half])
            if block == 1:
                kafka.restart()
            system.send(clicks[half:])
            system.end_block(block)
            if block == 2:
                system.wait_until(lambda: trainer.logged("update cycle") == 3, "cycle 3 begins")
                kafka.restart()
            system.wait_until_served(block)
        system.wait_until_scored(sum(map(len, blocks)))
        outcome = system.outcome()
    assert outcome.sessions == untouched.outcome.sessions
    assert outcome.scores == untouched.outcome.scores
    assert identities(outcome.manifests) == identities(untouched.outcome.manifests)
