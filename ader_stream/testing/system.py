"""The whole system for tests: every worker a process of its own, on topics of its own."""

from __future__ import annotations

import json
import subprocess
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

from confluent_kafka import TopicPartition

from ader_stream.local_kafka import Guard
from ader_stream.local_kafka.ports import HOST, free_port
from ader_stream.settings import load_settings, worker_environment
from ader_stream.stream.clicks.decoder import ClickFormat
from ader_stream.stream.operations.replay import Replayer
from ader_stream.stream.operations.system_view import SystemView
from ader_stream.stream.topics.topics import create_topics
from ader_stream.testing.processes import Launch, fork_worker, run_command
from ader_stream.testing.worker import WAIT_SECONDS, Worker
from ader_stream.types import Click

PARTITIONS = 3
POLL_SECONDS = 0.02

SettingsGroups = Mapping[str, Mapping[str, Any]]


class SessionRow(NamedTuple):
    """A line of ``ader-stream sessions dump --json``."""

    key: str
    block: int
    items: tuple[str, ...]
    first_time: int
    last_time: int


class RawRecord(NamedTuple):
    """A record for the clicks topic; partition -1 is the key's own."""

    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]] | None = None
    partition: int = -1
    timestamp: int = 0


@dataclass
class System:
    """Topics under a new prefix, the workers that a test starts on them, and a view of both.

    Leaving the ``with`` block kills the workers.

    Parameters
    ----------
    bootstrap_servers
        A Kafka that runs.
    folder
        For the logs.
    overrides
        Settings that differ from `DEFAULTS`.
    partitions
        Of the clicks topic.
    launch
        How its workers are started. `start_as_user` is for tests of the process itself.
    """

    DEFAULTS: ClassVar[SettingsGroups] = {}

    bootstrap_servers: str
    folder: Path
    overrides: SettingsGroups = field(default_factory=dict)
    partitions: int = PARTITIONS
    launch: Launch = fork_worker

    def __post_init__(self) -> None:
        address = {
            "bootstrap_servers": self.bootstrap_servers,
            "prefix": f"test-{uuid.uuid4().hex[:12]}",
        }
        self._groups = merged(self.DEFAULTS, self.overrides, {"kafka": address})
        self.settings = load_settings(**self._groups)
        self.clients, self.topics = self.settings.clients, self.settings.topics
        self.workers: list[Worker] = []

    def __enter__(self) -> Self:
        create_topics(self.clients.admin(), self.topics, self.partitions, with_clicks=True)
        self.view = SystemView(self.clients, self.topics)
        self._replayer = Replayer(
            self.clients, self.topics, self.settings.block_rule, ClickFormat(), None
        )
        self._producer = self.clients.producer(partitioner="murmur2_random")
        self._guard = Guard()
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            worker.kill()
            self._guard.cancel(worker.process.pid)
        self._guard.__exit__(None, None, None)
        self.view.close()

    # --- workers

    def start(self, name: str, **overrides: Mapping[str, Any]) -> Worker:
        """Start a worker; `overrides` (group → name → value) are for it alone."""
        port = free_port()
        log = self.folder / f"{len(self.workers)}-{name}.log"
        http = {"http": {"host": HOST, "port": port}}
        environment = self.environment(merged(http, overrides))
        process = self.launch(name, log, self._guard, environment)
        worker = Worker(name, process, log, port)
        self.workers.append(worker)
        return worker

    def environment(self, overrides: SettingsGroups) -> dict[str, str]:
        """Return the variables of a process that has the system's settings."""
        groups = merged(self._groups, overrides)
        return worker_environment(
            **{
                group: {name: as_variable(value) for name, value in values.items()}
                for group, values in groups.items()
            }
        )

    def command(
        self, *arguments: str | Path, **overrides: Mapping[str, Any]
    ) -> subprocess.CompletedProcess[str]:
        """Run ``ader-stream`` with the system's settings, or others (group → name → value)."""
        environment = self.environment(overrides)
        return run_command([*map(str, arguments)], environment, WAIT_SECONDS)

    # --- clicks

    def send(self, clicks: Sequence[Click]) -> None:
        """Write clicks as our own JSON; all of them are acknowledged on return."""
        self._replayer.send(clicks)

    def send_raw(self, records: Iterable[RawRecord]) -> None:
        """Write records of any content to the clicks topic; all are acknowledged on return."""
        for record in records:
            self._producer.produce(self.topics.clicks, **record._asdict())
            self._producer.poll(0)
        assert self._producer.flush(WAIT_SECONDS) == 0

    def end_block(self, block: int) -> None:
        """Send every partition the heartbeat that ends a block."""
        self._replayer.end_block(block)

    def view_again(self) -> None:
        """Follow topics that were created again."""
        self.view.close()
        self.view = SystemView(self.clients, self.topics)

    # --- waiting

    def wait_until(self, condition: Callable[[], object], what: str) -> None:
        """Wait for a condition; fail with the ends of the logs if it takes too long."""
        deadline = time.monotonic() + WAIT_SECONDS
        while not condition():
            self.view.poll(POLL_SECONDS)
            died = [worker.name for worker in self.workers if worker.has_died()]
            if died or time.monotonic() > deadline:
                reason = f"{', '.join(died)} died" if died else f"not within {WAIT_SECONDS:g} s"
                found = [f"{what}: {reason}", self.blocks_seen(), *self.log_tails()]
                raise AssertionError("\n".join(found))

    def wait_until_ready(self, *workers: Worker) -> None:
        """Wait until workers have joined their groups (and inference has a version)."""
        for worker in workers:
            self.wait_until(worker.is_ready, f"{worker.log.name} is ready")

    def wait_until_holding(self, *workers: Worker) -> None:
        """Wait until workers have been given partitions."""
        for worker in workers:
            self.wait_until(worker.has_partitions, f"{worker.log.name} has partitions")

    def wait_until_served(self, block: int) -> None:
        """Wait until a version that covers the block serves on every partition."""
        self.wait_until(lambda: self._serves(block), f"block {block} is served")

    def wait_until_sessions_have(self, clicks: int) -> None:
        """Wait until blocks that hold so many clicks, late ones included, have ended."""
        self.wait_until(lambda: self.clicks_in_blocks() >= clicks, f"{clicks} clicks in sessions")

    def wait_until_scored(self, clicks: int) -> None:
        """Wait until inference has read so many clicks."""
        self.wait_until(lambda: self.clicks_scored() >= clicks, f"{clicks} clicks scored")

    def clicks_in_blocks(self) -> int:
        """Count the clicks of the blocks that have ended."""
        return sum(counts.clicks for counts in self.view.blocks.values())

    def clicks_scored(self) -> int:
        """Count the clicks in `scores`, scored or not."""
        return sum(score.clicks for score in self.view.scores.values())

    def blocks_seen(self) -> str:
        """Return the counts of each block in the topics, for a failure."""
        return "\n".join(f"block {number}: {c}" for number, c in sorted(self.view.blocks.items()))

    def log_tails(self) -> Iterator[str]:
        """Return the ends of the workers' logs."""
        return (worker.tail() for worker in self.workers)

    # --- what the topics hold

    def sessions(self) -> list[SessionRow]:
        """Return every closed session, as the command line prints them, sorted."""
        done = self.command("sessions", "dump", "--json")
        assert done.returncode == 0, done.stderr
        rows = (json.loads(line) for line in done.stdout.splitlines())
        return sorted(SessionRow(**row | {"items": tuple(row["items"])}) for row in rows)

    def committed_offsets(self, process: str) -> dict[int, int]:
        """Return partition → the offset that a group continues from; none for those without one."""
        consumer = self.clients.group_consumer(self.topics.group(process))
        places = [TopicPartition(self.topics.clicks, p) for p in range(self.partitions)]
        committed = consumer.committed(places, timeout=WAIT_SECONDS)
        consumer.close()
        return {place.partition: place.offset for place in committed if place.offset >= 0}

    def _serves(self, block: int) -> bool:
        served = self.view.served_block()
        return served is not None and served >= block


def merged(*layers: SettingsGroups) -> dict[str, dict[str, Any]]:
    """Merge settings of several layers; later ones win."""
    names = {name for layer in layers for name in layer}
    return {
        name: {key: value for layer in layers for key, value in layer.get(name, {}).items()}
        for name in names
    }


def as_variable(value: object) -> str:
    """Return a setting as an environment variable has it."""
    return value if isinstance(value, str) else json.dumps(value)
