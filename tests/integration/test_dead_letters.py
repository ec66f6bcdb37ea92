"""Refused clicks: how many are too many, and the way back for corrected ones."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ader_stream.stream.dead_letters.letters import replayed_offsets
from ader_stream.stream.dead_letters.sending_back import BATCH_LETTERS
from ader_stream.types import Click
from tests.integration.simulated import expected_sessions
from tests.integration.system import Kafka, RawRecord, System

LETTERS = 16 * BATCH_LETTERS
NO_LIMIT = {"sessionizer": {"dead_letter_ratio": 1, "consecutive_dead_letters": 1000}}


def clicks_of(system: System, count: int) -> list[Click]:
    """A session a click, so that one that comes twice or not at all is seen."""
    start = system.settings.block_rule.start(0)
    return [Click(f"visit-{number}", "shoe", start + number) for number in range(count)]


def as_record(click: Click, time: object) -> RawRecord:
    value = {"session": click.key, "item": click.item, "time": time}
    return RawRecord(click.key.encode(), json.dumps(value).encode(), [("trace", b"\xff")])


def with_units_in_times(clicks: Sequence[Click]) -> Iterator[RawRecord]:
    return (as_record(click, f"{click.time} ms") for click in clicks)


def listed(system: System, *arguments: str) -> list[dict[str, Any]]:
    done = system.command("dead-letters", "list", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def replayed_count(system: System) -> int:
    topic = system.topics.dead_letters
    partitions = range(system.partitions)
    return sum(len(replayed_offsets(system.clients, topic, p)) for p in partitions)


def test_corrected_letters_are_sent_back_once_though_the_command_is_killed(
    kafka: Kafka, tmp_path: Path
) -> None:
    with System(kafka.bootstrap_servers, tmp_path, NO_LIMIT) as system:
        clicks = clicks_of(system, LETTERS)
        system.start("sessionizer")
        system.send_raw(with_units_in_times(clicks))
        system.wait_until(lambda: system.view.dead_letters == LETTERS, "all are refused")

        letters = listed(system)
        corrected = tmp_path / "corrected.jsonl"
        corrected.write_text("\n".join(map(json.dumps, map(correct, letters))))
        arguments = ("dead-letters", "replay", "--changed", str(corrected))
        kill_after_first_batch(start_command(system, *arguments))
        assert 0 < replayed_count(system) < LETTERS

        done = system.command(*arguments)
        assert done.returncode == 0, done.stderr
        assert "left 0 (refused again)" in done.stdout
        again = system.command(*arguments, "--json")
        assert json.loads(again.stdout.splitlines()[-1])["sent"] == 0
        system.end_block(0)
        system.wait_until_sessions_have(LETTERS)
        assert system.sessions() == expected_sessions(system.settings.block_rule, clicks)
        assert listed(system) == []
        assert len(listed(system, "--all", "--reason", "bad-value")) == LETTERS


def correct(letter: dict[str, Any]) -> dict[str, Any]:
    click = json.loads(letter["value"])
    return letter | {"value": json.dumps(click | {"time": int(click["time"].removesuffix(" ms"))})}


def start_command(system: System, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "ader_stream.cli.main", *arguments],
        env=system.environment({}),
        stdout=subprocess.PIPE,
        text=True,
    )


def kill_after_first_batch(command: subprocess.Popen[str]) -> None:
    """Kill at the first line of progress: asking the broker would leave time to end."""
    assert command.stdout is not None
    with command.stdout as progress:
        assert progress.readline().startswith("so far"), "the command ended without progress"
        command.kill()
    command.wait()


def test_letters_that_new_settings_can_read_are_sent_and_the_others_shown(
    kafka: Kafka, tmp_path: Path
) -> None:
    with System(kafka.bootstrap_servers, tmp_path, NO_LIMIT) as system:
        clicks = clicks_of(system, 3)
        iso = [as_record(click, f"1970-01-05T00:00:00.00{n}Z") for n, click in enumerate(clicks)]
        old = system.start("sessionizer")
        system.send_raw([*iso, RawRecord(b"bad", b"{poison", partition=1)])
        system.wait_until(lambda: system.view.dead_letters == 4, "all are refused")
        old.terminate()
        old.wait()
        reads_iso = {"clicks": {"time_format": "iso8601"}}
        system.start("sessionizer", **reads_iso)
        done = system.command("dead-letters", "replay", "--json", **reads_iso)
        report = json.loads(done.stdout.splitlines()[-1])
        assert (report["sent"], report["refused"]) == (3, {"malformed": 1})
        system.end_block(0)
        system.wait_until_sessions_have(3)
        assert system.sessions() == expected_sessions(system.settings.block_rule, clicks)

        [poison] = listed(system)
        shown = system.command("dead-letters", "show", poison["id"], "--json")
        assert json.loads(shown.stdout) == poison
        assert (poison["key"], poison["value"], poison["partition"]) == ("bad", "{poison", 1)
        lines = system.command("dead-letters", "list", "--all").stdout.splitlines()
        assert Counter("(sent back)" in line for line in lines) == {True: 3, False: 1}


def test_a_worker_that_stopped_for_its_dead_letters_stops_again_when_it_is_started_again(
    kafka: Kafka, tmp_path: Path
) -> None:
    with System(
        kafka.bootstrap_servers, tmp_path, {"sessionizer": {"consecutive_dead_letters": 50}}
    ) as system:
        system.send_raw(RawRecord(b"bad", b"poison", partition=0) for _ in range(50))
        first = system.start("sessionizer")
        system.wait_until(lambda: system.view.dead_letters == 50, "as many as may be are refused")
        system.send_raw(RawRecord(b"bad", b"poison", partition=0) for _ in range(50))
        assert first.wait() == 1
        second = system.start("sessionizer")
        assert second.wait() == 1
        for stopped in (first, second):
            assert stopped.logged("51 clicks in a row of partition 0 were refused") == 1
        assert system.committed_offsets("sessionizer")[0] in (50, 51)  # a commit takes an offset
        assert len(system.records(system.topics.dead_letters)) == 50
