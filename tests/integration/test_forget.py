"""``ader-stream forget``, with every worker running."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ader_stream.stream.clicks.decoder import encode_click
from ader_stream.types import DAY_MS, HOUR_MS, MINUTE_MS, Click
from tests.integration.simulated import simulated_clicks
from tests.integration.system import Kafka, RawRecord, System

KEY = "visit-to-forget"


@pytest.fixture(scope="module")
def system(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A version is served; the key has a session in its block, and an open one in the next."""
    with System(kafka.bootstrap_servers, tmp_path_factory.mktemp("forget")) as system:
        blocks = simulated_clicks(system.settings.block_rule, blocks=2, walks=60)
        for name in ("sessionizer", "trainer", "inference"):
            system.start(name)
        for block, clicks in enumerate(blocks):
            start = system.settings.block_rule.start(block)
            own = [Click(KEY, f"item-{n}", start + n) for n in range(3)]
            system.send(sorted([*own, *clicks[:-1]], key=lambda click: click.time))
            if block == 0:
                system.end_block(0)
                system.wait_until_served(0)
        yield system


def test_a_key_is_forgotten_by_everyone_and_the_report_says_what_stays(system: System) -> None:
    start = system.settings.block_rule.start(1)
    late = Click(KEY, "item-7", start + system.settings.block_rule.length - 60_000)
    value = encode_click(late, system.settings.click_format)
    # Written as it happened: nobody has to confirm that so much time has passed.
    system.send_raw([RawRecord(KEY.encode(), value, timestamp=late.time + 1)])
    inference = system.workers[2]
    system.wait_until(
        lambda: inference.get("/recommend", session=KEY).is_success, "its session is open"
    )
    done = system.command("forget", KEY, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["goes_with_the_trim"]["sessions"] >= 1
    assert report["nothing_read_from_version"] == 2
    system.wait_until(
        lambda: inference.get("/recommend", session=KEY).status_code == 404, "it is open no more"
    )
    system.wait_until(
        lambda: not any(record.value() for record in recommended(system)), "it is deleted"
    )
    system.wait_until(lambda: not open_in_changelog(system), "the changelog has dropped it")

    system.end_block(1)
    system.wait_until_served(1)
    trained = [row for row in system.sessions() if row.block == 1]
    assert not any(late.item == row.items[0] and row.key == KEY for row in trained)
    second = system.manifests()[1]
    assert second.report.sessions == sum(row.key != KEY for row in trained)
    assert second.report.clicks == sum(len(row.items) for row in trained if row.key != KEY)


def test_a_key_that_is_forgotten_in_mid_cycle_is_not_in_the_version(system: System) -> None:
    system.workers[1].terminate()
    assert system.workers[1].wait() == 0
    slow = {**system.settings.trainer.overrides, "max_epochs": 250}
    trainer = system.start("trainer", trainer={"overrides": slow})
    start = system.settings.block_rule.start(2)
    others = simulated_clicks(system.settings.block_rule, blocks=3, walks=60)[2]
    own = [Click("second-to-forget", f"item-{n}", start + n) for n in range(3)]
    system.send(sorted([*own, *others], key=lambda click: click.time))
    system.end_block(2)
    system.wait_until(lambda: trainer.logged("epoch=3 "), "the cycle has begun")

    done = system.command("forget", "second-to-forget", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["nothing_read_from_version"] == 3
    assert not trainer.logged("version published"), "too late to prove anything"
    system.wait_until_served(2)

    assert trainer.logged("some of its sessions are to be erased") == 1
    third = system.manifests()[2]
    trained = [row for row in system.sessions() if row.block == 2]
    assert third.report.sessions == len(trained) - 1
    assert third.run.skipped_sessions == 1
    assert f"is above {third.run.control_offset - 1} in" in report["proof"]


@pytest.mark.parametrize(
    "start", [12 * HOUR_MS, int(time.time() * 1000) + 3650 * DAY_MS], ids=["past", "future"]
)
def test_the_log_and_no_clock_says_what_is_erased_though_the_worker_dies_in_between(
    kafka: Kafka, tmp_path: Path, start: int
) -> None:
    """Clicks of 1970, and of ten years ahead: before the request they go, behind it they stay."""
    any_time = {"clicks": {"max_ahead": "0s", "max_jump": "0s", "check_times": False}}
    with System(kafka.bootstrap_servers, tmp_path, any_time) as system:
        worker = system.start("sessionizer")
        system.send(visits("before", start))
        system.wait_until(lambda: open_in_changelog(system), "the session is open")
        done = system.command("forget", KEY, "--json")
        worker.kill()
        assert done.returncode == 0, done.stderr
        assert sum(json.loads(done.stdout)["clicks_end"]) == 4
        system.send(visits("behind", start + 2 * MINUTE_MS))
        again = system.start("sessionizer")
        system.wait_until(lambda: again.metric("ader_clicks_total") >= 4, "all is read")
        again.kill()
        system.start("sessionizer")
        system.end_block(system.settings.block_rule.block_of(start))
        system.wait_until_sessions_have(6)
        sessions = {row.key: row.items for row in system.sessions()}
    others = ("before-0", "before-1", "behind-0", "behind-1")
    assert sessions == {KEY: ("behind-0", "behind-1"), "another": others}


def visits(name: str, start: int) -> list[Click]:
    return [
        Click(key, f"{name}-{number}", start + number * 1_000)
        for number in range(2)
        for key in (KEY, "another")
    ]


def recommended(system: System) -> list[object]:
    """The last recommendation of the key on each partition."""
    last = {
        record.partition(): record
        for record in system.records(system.topics.recommendations)
        if record.key() == KEY.encode()
    }
    return list(last.values())


def open_in_changelog(system: System) -> bool:
    last = [
        record.value()
        for record in system.records(system.topics.sessionizer_state)
        if record.key() == KEY.encode()
    ]
    return bool(last and last[-1])
