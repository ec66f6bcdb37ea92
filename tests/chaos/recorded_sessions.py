"""Replays session files through Kafka, with and without kills: out come the files' own sessions.

``python -m tests.chaos.recorded_sessions --dataset DIR --out FILE`` takes 1, 4 and 8 partitions, 1
to 3 workers, none and several kills, one after the other, on a Kafka of its own; a run that FILE
has already is passed over, so that it can be stopped at any time. ``--blocks N`` takes the first
periods alone.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import random
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from platformdirs import user_cache_path

from ader_stream.datasets.spread import spread
from ader_stream.local_kafka import Guard
from ader_stream.testing.brokers import from_java
from ader_stream.types import BlockRule
from tests.chaos.differences import Differences, compare
from tests.integration.system import POLL_SECONDS, SessionRow, System, Worker

PARTITIONS = (1, 4, 8)
WORKERS = (1, 2, 3)
KILLS = 4
"""In a run with kills: at each fifth of the clicks a worker dies, and another comes."""


@dataclass(frozen=True)
class Run:
    """One way through Kafka.

    Parameters
    ----------
    dataset
        The folder's name.
    blocks
        Periods that are replayed.
    rate
        Clicks a second; None for as fast as it goes.
    """

    dataset: str
    blocks: int
    partitions: int
    workers: int
    kills: int
    rate: int | None = None


@dataclass
class Outcome:
    """What came of a run.

    Parameters
    ----------
    unread
        For each kill, the clicks that were not committed when it came.
    """

    run: Run
    clicks: int
    sessions: Differences
    unread: list[int] = field(default_factory=list)
    seconds: float = 0.0


def replay_through_kafka(address: str, folder: Path, dataset: Path, run: Run) -> Outcome:
    """Replay a folder through workers of which some are killed, and compare what comes out."""
    with System(address, folder, partitions=run.partitions) as system:
        expected = list(file_sessions(dataset, run.blocks, system))
        clicks = sum(len(row.items) for row in expected)
        began_at = time.monotonic()
        workers = [system.start("sessionizer") for _ in range(run.workers)]
        system.wait_until_ready(*workers)
        with replaying(system, dataset, run) as replay:
            unread = kill_on_the_way(system, workers, clicks, run.kills)
            assert replay.wait() == 0, (folder / "replay.log").read_text()
        system.wait_until(lambda: system.clicks_in_blocks() >= clicks, "all clicks in sessions")
        seconds = round(time.monotonic() - began_at)
        return Outcome(run, clicks, compare(expected, system.sessions()), unread, seconds)


def replaying(system: System, dataset: Path, run: Run) -> subprocess.Popen[bytes]:
    """Start ``ader-stream replay``."""
    rate = ["--rate", str(run.rate)] if run.rate else []
    command = ["replay", "--dataset", str(dataset), "--blocks", str(run.blocks), *rate]
    with (system.folder / "replay.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "ader_stream.cli.main", *command],
            env=system.environment({}),
            stdout=log,
            stderr=log,
        )


def kill_on_the_way(system: System, workers: list[Worker], clicks: int, kills: int) -> list[int]:
    """Kill a worker, and start another, each time that the next part is committed."""
    rng, unread = random.Random(kills), []
    for number in range(1, kills + 1):
        part = clicks * number // (kills + 1)
        system.wait_until(lambda part=part: committed(system) >= part, f"{part} clicks committed")
        workers.pop(rng.randrange(len(workers))).kill()
        unread.append(max(0, clicks - committed(system)))
        workers.append(system.start("sessionizer"))
    for part in range(0, clicks, -(-clicks // 10)):  # each with its own time to wait
        system.wait_until(lambda part=part: committed(system) >= part, f"{part} clicks committed")
    return unread


def committed(system: System) -> int:
    """Records up to which the workers have come."""
    time.sleep(5 * POLL_SECONDS)  # asking costs the broker something
    return sum(system.committed_offsets("sessionizer").values())


def file_sessions(dataset: Path, blocks: int, system: System) -> Iterator[SessionRow]:
    """Yield the sessions of a folder: every key's lines of a period."""
    rule, gap = system.settings.block_rule, system.settings.sessions.gap
    for number in range(blocks):
        yield from period_sessions(number, lines_of(dataset, number), rule, gap)


def period_sessions(
    number: int, lines: list[list[str]], rule: BlockRule, gap: int
) -> Iterator[SessionRow]:
    """Yield the sessions of one period; only their times are not in the file."""
    times = spread([key for key, _ in lines], rule.start(number), rule.length, gap)
    clicks: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
    for (key, item), at in zip(lines, times, strict=True):
        clicks[key].append((at, item))
    for key, of_key in clicks.items():
        items = tuple(item for _, item in of_key)
        yield SessionRow(key, number, items, of_key[0][0], of_key[-1][0])


def lines_of(dataset: Path, number: int) -> list[list[str]]:
    """Session and item of every line of a period's file."""
    [file] = dataset.glob(f"period_{number}.txt*")
    text = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    return [line.split() for line in text.decode().splitlines()]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--dataset", type=Path, required=True)
    arguments.add_argument("--blocks", type=int, help="periods; all of them without it")
    arguments.add_argument("--kills", type=int, default=KILLS)
    arguments.add_argument("--out", type=Path, required=True, help="file of JSON lines")
    chosen = arguments.parse_args()
    blocks = chosen.blocks or len(list(chosen.dataset.glob("period_*.txt*")))
    is_clean = True
    for partitions, workers, kills in itertools.product(PARTITIONS, WORKERS, (0, chosen.kills)):
        run = Run(chosen.dataset.name, blocks, partitions, workers, kills)
        if run not in finished(chosen.out):
            outcome = on_a_kafka_of_its_own(chosen.dataset, run)
            is_clean &= outcome.sessions.is_clean
            with chosen.out.open("a") as out:
                out.write(json.dumps(asdict(outcome)) + "\n")
            print(json.dumps(asdict(outcome)), flush=True)
    sys.exit(not is_clean)


def on_a_kafka_of_its_own(dataset: Path, run: Run) -> Outcome:
    with tempfile.TemporaryDirectory() as folder, Guard() as guard:
        data = Path(folder)
        with from_java(data / "kafka", user_cache_path("ader-stream"), guard) as kafka:
            return replay_through_kafka(kafka.bootstrap_servers, data, dataset, run)


def finished(out: Path) -> list[Run]:
    """Runs that a file of results has."""
    lines = out.read_text().splitlines() if out.exists() else []
    return [Run(**json.loads(line)["run"]) for line in lines]


if __name__ == "__main__":
    main()
