"""Whoever is killed in the middle of their work, the end is the same as without."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ader_stream.types import Click
from tests.integration.simulated import simulated_clicks
from tests.integration.system import Kafka, Outcome, System, Worker
from tests.integration.whole_run import WholeRun, identities, whole_run


@pytest.fixture(scope="module")
def untouched(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> WholeRun:
    return whole_run(kafka.bootstrap_servers, tmp_path_factory.getbasetemp() / "whole-run")


@pytest.fixture(scope="module")
def killed(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """The same clicks; each worker is killed once, and another one started in its place.

    The second trainer continues with the cycle that the first one has left half trained.
    """
    folder = tmp_path_factory.mktemp("killed")
    checkpoints = {"trainer": {"checkpoints": str(folder / "checkpoints")}}
    with System(kafka.bootstrap_servers, folder, checkpoints) as system:
        blocks = simulated_clicks(system.settings.block_rule)
        sessionizer, trainer, inference = (
            system.start(name) for name in ("sessionizer", "trainer", "inference")
        )
        send_block(system, 0, blocks[0])
        system.wait_until_served(0)

        half = len(blocks[1]) // 2
        kill_while_clicks_come(system, sessionizer, inference, blocks[1][:half])
        system.start("sessionizer")
        system.start("inference")
        send_block(system, 1, blocks[1][half:])
        system.wait_until_served(1)

        send_block(system, 2, blocks[2])
        kill_in_mid_cycle(system, trainer, cycle=3)
        second = system.start("trainer")
        system.wait_until_served(2)
        assert second.logged("cycle resumed from its checkpoint") == 1
        assert not any((folder / "checkpoints").iterdir())

        send_block(system, 3, blocks[3])
        system.wait_until_served(3)
        system.wait_until_scored(sum(map(len, blocks)))
        return system.outcome()


def send_block(system: System, block: int, clicks: Sequence[Click]) -> None:
    system.send(clicks)
    system.end_block(block)


def kill_while_clicks_come(
    system: System, sessionizer: Worker, inference: Worker, clicks: Sequence[Click]
) -> None:
    """Kill both when a part of the clicks is committed and the rest has just come."""
    before, part = system.clicks_scored(), len(clicks) // 2
    system.send(clicks[:part])
    system.wait_until(lambda: system.clicks_scored() > before, "scores of an unfinished block")
    system.send(clicks[part:])
    sessionizer.kill()
    inference.kill()


def kill_in_mid_cycle(system: System, trainer: Worker, cycle: int) -> None:
    done = trainer.logged("samples_per_second")
    system.wait_until(lambda: trainer.logged("update cycle") == cycle, f"cycle {cycle} begins")
    system.wait_until(lambda: trainer.logged("samples_per_second") > done, "an epoch has ended")
    trainer.kill()
    assert trainer.logged("version published") == cycle - 1, "killed too late to prove anything"


def test_kills_lose_and_double_no_click(untouched: WholeRun, killed: Outcome) -> None:
    assert killed.sessions == untouched.outcome.sessions


def test_kills_change_no_score(untouched: WholeRun, killed: Outcome) -> None:
    assert killed.scores == untouched.outcome.scores


def test_kills_change_no_version(untouched: WholeRun, killed: Outcome) -> None:
    assert identities(killed.manifests) == identities(untouched.outcome.manifests)
