"""A monitor beside the other workers: killed and taken over, its numbers are the topics'."""

from __future__ import annotations

import json
from pathlib import Path

import httpx

from tests.integration.monitored import kept_numbers, uninterrupted_numbers
from tests.integration.simulated import simulated_clicks
from tests.integration.system import Kafka, RawRecord, System, Worker

MONITOR = {"monitor": {"commit_interval": "200ms"}}


def status(monitor: Worker) -> dict[str, object]:
    """What it shows; nothing while it does not answer."""
    try:
        return dict(monitor.get("/status").json())
    except httpx.TransportError:
        return {}


def first_event(monitor: Worker) -> dict[str, object]:
    """The first server-sent event."""
    with httpx.stream("GET", f"{monitor.url}/events", timeout=30) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        lines = response.iter_lines()
        data = next(line for line in lines if line.startswith("data: "))
    return dict(json.loads(data.removeprefix("data: ")))


def test_a_monitor_that_is_killed_again_and_again_counts_everything_once(
    kafka: Kafka, tmp_path: Path
) -> None:
    with System(kafka.bootstrap_servers, tmp_path, MONITOR) as system:
        for name in ("sessionizer", "trainer", "inference"):
            system.start(name)
        monitor = system.start("monitor")
        system.wait_until(lambda: status(monitor).get("state") == "no block yet", "it has read all")
        standby = system.start("monitor")
        system.wait_until_ready(standby)
        blocks = simulated_clicks(system.settings.block_rule, blocks=3, walks=60)
        system.send_raw([RawRecord(b"poisoned", b"no click")])
        for block, clicks in enumerate(blocks):
            system.send(clicks)
            monitor.kill()
            monitor, standby = standby, system.start("monitor")
            system.end_block(block)
            system.wait_until_served(block)
        system.wait_until_scored(sum(map(len, blocks)))

        def shows_all(worker: Worker) -> bool:
            shown = status(worker)
            drift = shown.get("drift") or {}
            return drift.get("block", {}).get("block") == 2 and shown["versions"]["served"] == 3

        def leader() -> Worker | None:  # the group chooses which of the two it is
            return next(filter(shows_all, (monitor, standby)), None)

        system.wait_until(leader, "a standby leads and has read all")
        if leader() is standby:
            monitor, standby = standby, monitor
        expected = uninterrupted_numbers(system)
        system.wait_until(lambda: kept_numbers(system) == expected, "all of it is committed")

        shown = status(monitor)
        assert shown["state"] == "showing"
        assert [b["clicks"] for b in shown["blocks"]] == [len(clicks) for clicks in blocks]
        assert shown["refusals"]["refused"] == {"malformed": 1}
        assert shown["lags"].keys() == {"clicks", "sessions", "block_end", "trained", "served"}
        assert first_event(monitor).keys() == shown.keys()
        assert monitor.metric("ader_drift_block") == 2
        assert monitor.metric("ader_dead_letters_ratio") == shown["refusals"]["ratios"]["malformed"]
        assert (status(standby)["state"], standby.samples("ader_drift_block")) == ("standby", [])
        assert not any(worker.logged("Traceback") for worker in system.workers)
