"""A right that is taken away while a worker runs: named, waited for, and nothing is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from ader_stream.stream.kafka.rights import Right
from tests.integration.secured import SecuredKafka
from tests.integration.simulated import expected_sessions, simulated_clicks
from tests.integration.system import RawRecord, System, Worker
from tests.integration.test_rights import line_of, names, needed, printed, settings_of, start


def granted(system: System, secured: SecuredKafka, *roles: str) -> None:
    for role in roles:
        secured.grant(printed(system, role))


def right_of(system: System, secured: SecuredKafka, role: str, operation: str, end: str) -> Right:
    [right] = [
        right
        for right in needed(settings_of(system, secured, role), role)
        if right.operations == (operation,) and right.name.endswith(end)
    ]
    return right


def wait_until_reported(system: System, worker: Worker, right: Right) -> None:
    """Wait until the worker is not ready, and names the right; it need not be killed for it."""
    system.wait_until(lambda: names(right, worker.readiness()), f"{right} is told to lack")
    assert worker.get("/readyz").status_code == 503
    assert worker.get("/healthz").status_code == 200


@pytest.mark.timeout(600)
def test_a_sessionizer_waits_for_each_right_and_loses_nothing(
    secured: SecuredKafka, tmp_path: Path
) -> None:
    role = "sessionizer"
    taken = [
        ("Write", ".sessions"),
        ("Write", ".sessionizer-state"),
        ("Write", ".dead-letters"),
        ("Read", ".clicks"),
        ("Read", ".control"),
        ("Read", ".sessionizer"),
        ("Write", ".sessionizer."),
    ]
    with System(secured.bootstrap_servers, tmp_path, partitions=2) as system:
        granted(system, secured, role)
        blocks = simulated_clicks(system.settings.block_rule, blocks=len(taken), walks=30)
        worker = start(system, secured, role)
        system.wait_until_ready(worker)
        for block, (operation, end) in enumerate(taken):
            right = right_of(system, secured, role, operation, end)
            secured.revoke([line_of(right, role)])
            system.send_raw([RawRecord(b"poisoned", b"no click")])
            system.send(blocks[block])
            system.end_block(block)
            wait_until_reported(system, worker, right)
            secured.grant([line_of(right, role)])
            system.wait_until_ready(worker)
        clicks = [click for block in blocks for click in block]
        system.wait_until_sessions_have(len(clicks))

        assert system.sessions() == expected_sessions(system.settings.block_rule, clicks)
        assert worker.metric("ader_commit_failures_total") >= len(taken) - 1
        assert not worker.logged("Traceback")


@pytest.mark.timeout(600)
def test_trainer_and_inference_wait_for_a_right_and_lose_nothing(
    secured: SecuredKafka, tmp_path: Path
) -> None:
    with System(secured.bootstrap_servers, tmp_path, partitions=2) as system:
        granted(system, secured, "sessionizer", "trainer", "inference")
        blocks = simulated_clicks(system.settings.block_rule, blocks=2, walks=60)
        workers = [start(system, secured, r) for r in ("sessionizer", "trainer", "inference")]
        sessionizer, trainer, inference = workers
        system.wait_until_ready(sessionizer, trainer)

        right = right_of(system, secured, "trainer", "Write", ".models")
        secured.revoke([line_of(right, "trainer")])
        system.send(blocks[0])
        system.end_block(0)
        wait_until_reported(system, trainer, right)
        secured.grant([line_of(right, "trainer")])
        system.wait_until_served(0)
        system.wait_until_ready(*workers)

        right = right_of(system, secured, "inference", "Write", ".scores")
        secured.revoke([line_of(right, "inference")])
        system.send(blocks[1])
        wait_until_reported(system, inference, right)
        assert inference.post("/recommend", {"items": ["item-1"]}).status_code == 200
        secured.grant([line_of(right, "inference")])
        system.wait_until_ready(inference)

        right = right_of(system, secured, "inference", "Read", ".models")
        secured.revoke([line_of(right, "inference")])
        wait_until_reported(system, inference, right)
        secured.grant([line_of(right, "inference")])
        system.end_block(1)
        system.wait_until_served(1)
        system.wait_until_scored(sum(map(len, blocks)))
        system.wait_until_ready(*workers)

        assert [manifest.blocks for manifest in system.manifests()] == [(0,), (1,)]
        assert trainer.logged("update cycle") == len(blocks)  # nothing was trained twice
        assert not any(worker.logged("Traceback") for worker in workers)
