"""``ader-stream replay``: a data set into the topic, and what is said when that cannot be."""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ader_stream.stream.clicks.decoder import WATERMARK_HEADER
from tests.integration.simulated import simulated_clicks
from tests.integration.system import Kafka, System

PERIODS = 2
NOBODY = "127.0.0.1:1"
"""An address at which no Kafka answers."""


@pytest.fixture(scope="module")
def system(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(kafka.bootstrap_servers, tmp_path_factory.mktemp("replay")) as system:
        yield system


@pytest.fixture(scope="module")
def lines(system: System) -> list[list[tuple[str, str]]]:
    """(session, item) of every period, in order of time."""
    blocks = simulated_clicks(system.settings.block_rule, PERIODS, walks=120)
    return [[(click.key, click.item) for click in clicks] for clicks in blocks]


@pytest.fixture(scope="module")
def dataset(system: System, lines: list[list[tuple[str, str]]]) -> Path:
    """The folder format, one period of it compressed."""
    folder = system.folder / "shop"
    folder.mkdir()
    texts = ["".join(f"{key} {item}\n" for key, item in period) for period in lines]
    (folder / "period_0.txt").write_text(texts[0])
    (folder / "period_1.txt.gz").write_bytes(gzip.compress(texts[1].encode()))
    return folder


@pytest.fixture(scope="module")
def said(system: System, dataset: Path) -> list[dict[str, Any]]:
    """What a replay at the pace of the blocks says, with all workers there."""
    for name in ("sessionizer", "trainer", "inference"):
        system.start(name)
    done = system.command("replay", "--dataset", dataset, "--pace", "block", "--json")
    assert done.returncode == 0, "\n".join([done.stderr, *system.log_tails()])
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_replay_counts_what_it_has_sent(
    said: list[dict[str, Any]], lines: list[list[tuple[str, str]]]
) -> None:
    first, second = map(len, lines)
    assert said[0]["clicks"] == first + second
    assert (said[0]["first_time"][:10], said[0]["last_time"][:10]) == ("1970-01-05", "1970-01-06")
    assert said[1:] == [
        {"block": 0, "clicks": first, "clicks_sent": first},
        {"block": 1, "clicks": second, "clicks_sent": first + second},
    ]


def test_every_block_ends_with_a_heartbeat_on_every_partition(
    system: System, said: list[dict[str, Any]]
) -> None:
    rule = system.settings.block_rule
    for partition in range(system.partitions):
        records = [r for r in system.records(system.topics.clicks) if r.partition() == partition]
        heartbeats = [r.headers() for r in records if r.value() is None]
        ends = [str(rule.start(block + 1)).encode() for block in range(PERIODS)]
        assert heartbeats == [[(WATERMARK_HEADER, end)] for end in ends]
        assert records[-1].value() is None


def test_a_period_becomes_a_block_and_its_sessions_stay_whole(
    system: System, said: list[dict[str, Any]], lines: list[list[tuple[str, str]]]
) -> None:
    expected: defaultdict[tuple[str, int], list[str]] = defaultdict(list)
    for block, period in enumerate(lines):
        for key, item in period:
            expected[key, block].append(item)
    found = {(row.key, row.block): list(row.items) for row in system.sessions()}
    assert found == expected


def test_at_the_pace_of_blocks_every_block_is_served_before_the_next_is_sent(
    system: System, said: list[dict[str, Any]]
) -> None:
    counts = [entry["clicks"] for entry in said[1:]]
    system.wait_until_scored(sum(counts))
    scored: defaultdict[tuple[int, int | None], int] = defaultdict(int)
    for key, score in system.scores().items():
        scored[key.block, key.version] += score.clicks
    assert scored == {(0, None): counts[0], (1, 1): counts[1]}
    assert sorted(system.view.manifests) == [1, 2]
    assert system.view.served_block() == 1


# --- what cannot be replayed: one clear line and exit code 2


def refused(system: System, dataset: Path, *options: str, **settings: dict[str, str]) -> str:
    done = system.command("replay", "--dataset", dataset, *options, **settings)
    assert (done.returncode, done.stdout) == (2, "")
    [line] = done.stderr.splitlines()
    assert line.startswith("ader-stream: ")
    return line


def test_a_wrong_address_is_named(system: System, dataset: Path) -> None:
    line = refused(system, dataset, "--bootstrap-servers", NOBODY)
    assert f"no Kafka answers at {NOBODY}" in line


def test_a_missing_folder_is_named(system: System, tmp_path: Path) -> None:
    assert f"{tmp_path / 'nowhere'} does not exist; expected" in refused(
        system, tmp_path / "nowhere"
    )


def test_a_malformed_line_is_named_with_its_file_before_anything_is_sent(
    system: System, tmp_path: Path
) -> None:
    before = len(system.records(system.topics.clicks))
    (tmp_path / "period_0.txt").write_text("visitor-1 item-1\n")
    (tmp_path / "period_1.txt").write_text("visitor-1 item-1\nvisitor-2\n")
    assert f"{tmp_path / 'period_1.txt'}, line 2: " in refused(system, tmp_path)
    assert len(system.records(system.topics.clicks)) == before


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ({"sessions": {"gap": "-5m"}}, "sessions.gap = '-5m': expected a number"),
        ({"sessions": {"gapp": "5m"}}, "ADER_SESSIONS_GAPP: unknown setting; did you mean"),
        ({"sessions": {"gap": "2d"}}, "must be shorter than blocks.length"),
        ({"blocks": {"min_sessions": "50"}}, "blocks.min_sessions = 50"),
    ],
    ids=["negative-gap", "unknown-setting", "gap-beyond-a-block", "joined-blocks"],
)
def test_a_wrong_setting_is_named(
    system: System, dataset: Path, setting: dict[str, dict[str, str]], reason: str
) -> None:
    assert reason in refused(system, dataset, "--pace", "block", **setting)
