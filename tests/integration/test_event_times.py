"""Event times that cannot be right: no worker starts on them, and none is sent by a replay."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ader_stream.types import DAY_MS, MINUTE_MS, Click
from tests.integration.system import Kafka, RawRecord, System

CHECKED = {"clicks": {"check_times": True}}
CLICKS = 60
YEARS_AGO = int(time.time() * 1000) - 900 * DAY_MS


def clicks() -> list[Click]:
    """Some a minute apart, three in each session."""
    return [Click(f"visit-{n // 3}", "hat", YEARS_AGO + n * MINUTE_MS) for n in range(CLICKS)]


def in_seconds() -> Iterator[RawRecord]:
    for click in clicks():
        value = {"session": click.key, "item": click.item, "time": click.time // 1000}
        yield RawRecord(click.key.encode(), json.dumps(value).encode())


@pytest.mark.parametrize("name", ["sessionizer", "inference"])
def test_no_worker_starts_on_seconds_that_it_would_read_as_milliseconds(
    kafka: Kafka, tmp_path: Path, name: str
) -> None:
    with System(kafka.bootstrap_servers, tmp_path, CHECKED) as system:
        system.send_raw(in_seconds())
        refused = system.start(name)
        assert refused.wait() == 2
        [line] = [line for line in refused.log.read_text().splitlines() if "ader-stream: " in line]
        assert "60 of 60 event times are 1,000 times too small" in line
        assert "set clicks.time_format = s, or" in line
        assert system.committed_offsets(name) == {}

        corrected = {"clicks": {"time_format": "s"}}
        system.wait_until_holding(system.start(name, **corrected))


def test_old_clicks_that_are_sent_today_become_sessions(kafka: Kafka, tmp_path: Path) -> None:
    with System(kafka.bootstrap_servers, tmp_path, CHECKED) as system:
        system.send(clicks())
        worker = system.start("sessionizer")
        system.end_block(system.settings.block_rule.block_of(clicks()[-1].time))
        system.wait_until_sessions_have(CLICKS)
        assert worker.logged("event times checked") == 1


def test_a_table_of_another_unit_is_not_replayed_unless_asked_to(
    kafka: Kafka, tmp_path: Path
) -> None:
    rows = "".join(f"{c.key},{c.item},{c.time // 1000}\n" for c in clicks())
    (tmp_path / "clicks.csv").write_text("session,item,time\n" + rows)
    with System(kafka.bootstrap_servers, tmp_path, CHECKED) as system:
        replay = ("replay", "--dataset", tmp_path / "clicks.csv")
        refused = system.command(*replay)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert "; use --time-unit s, or" in refused.stderr
        assert system.records(system.topics.clicks) == []

        as_they_are = system.command(*replay, "--any-time", "--json")
        assert as_they_are.returncode == 0, as_they_are.stderr
        assert json.loads(as_they_are.stdout.splitlines()[0])["first_time"].startswith("1970-")
        in_unit = system.command(*replay, "--time-unit", "s")
        assert in_unit.returncode == 0, in_unit.stderr
        assert in_unit.stdout.startswith(f"{CLICKS} clicks, event times from 20")


def test_times_that_are_counted_from_an_origin_of_1970_are_reported(
    kafka: Kafka, tmp_path: Path
) -> None:
    (tmp_path / "period_0.txt").write_text("visit hat\nvisit shoe\n")
    with System(kafka.bootstrap_servers, tmp_path, CHECKED) as system:
        done = system.command("replay", "--dataset", tmp_path)
        assert done.returncode == 0, done.stderr
        assert "they start at blocks.origin, 1970-01-05T00:00:00Z" in done.stderr
