"""The whole system for tests: every worker a process of its own, on topics of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import httpx
from confluent_kafka import TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from ader_stream.local_kafka import Guard
from ader_stream.local_kafka.ports import HOST, free_port
from ader_stream.settings import load_settings, worker_environment
from ader_stream.stream.clicks.decoder import ClickFormat
from ader_stream.stream.kafka.reading import read_to_end
from ader_stream.stream.kafka.records import Record
from ader_stream.stream.model_registry.manifest import Manifest
from ader_stream.stream.model_registry.manifest_record import decode_manifest
from ader_stream.stream.operations.replay import Replayer
from ader_stream.stream.operations.system_view import SystemView
from ader_stream.stream.scores.score_log import Score, ScoreKey, read_scores
from ader_stream.stream.topics.topics import create_topics, partition_counts
from ader_stream.types import Click
from tests.integration.processes import Launch, WorkerProcess, fork_worker, run_command

PARTITIONS = 3
LEAVE_SECONDS = 10.0
"""A worker leaves within this after SIGTERM."""

WAIT_SECONDS = 90.0
"""How long a condition may take on a machine that is busy with other things."""

POLL_SECONDS = 0.02
LOG_LINES = 25
"""Lines of each log that a failure shows."""

SettingsGroups = Mapping[str, Mapping[str, Any]]

SMALL: SettingsGroups = {
    "blocks": {"length": "1d"},
    "clicks": {"check_times": False},
    "sessionizer": {"idle_timeout": "off"},
    "inference": {"recommendations": True},
    "trainer": {
        "overrides": {
            "hidden": 16,
            "maxlen": 10,
            "max_epochs": 5,
            "batch_size": 32,
            "exemplars": 300,
            "learning_rate": 0.01,
        },
        "threads": 1,
        "when_undecided": "accept",
    },
}
"""Blocks are too small for the gate to judge each of them. One thread, because the same inputs give
the same artifact only with the same number of them. Block 0 is in January 1970, which no click of a
real topic could be."""


class Kafka(Protocol):
    """What these tests need of the broker's fixture."""

    @property
    def bootstrap_servers(self) -> str:
        """Its address."""


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


class Outcome(NamedTuple):
    """What a run has left in the topics."""

    sessions: list[SessionRow]
    scores: dict[ScoreKey, Score]
    manifests: list[Manifest]


@dataclass
class Worker:
    """A worker process."""

    name: str
    process: WorkerProcess
    log: Path
    port: int
    may_end: bool = False

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{HOST}:{self.port}"

    def get(self, path: str, **params: str) -> httpx.Response:
        """GET a path of the worker."""
        return httpx.get(self.url + path, params=params, timeout=WAIT_SECONDS)

    def post(self, path: str, body: object) -> httpx.Response:
        """POST a value as JSON."""
        return httpx.post(self.url + path, json=body, timeout=WAIT_SECONDS)

    def samples(self, name: str) -> list[float]:
        """A metric's values, one for each of its labels; none while the worker does not answer."""
        try:
            text = self.get("/metrics").text
        except httpx.TransportError:  # it has not come so far, or is gone
            return []
        return [
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name
        ]

    def metric(self, name: str) -> float:
        """The sum of a metric's values; 0 while there is none."""
        return sum(self.samples(name))

    def holds_partitions(self) -> bool:
        """Whether it has held partitions: it shows their lag, be there clicks or not."""
        return bool(self.samples("ader_lag_records"))

    def readiness(self) -> str:
        """What it says of its readiness; empty while it does not answer yet."""
        with suppress(httpx.TransportError):
            return self.get("/readyz").text.strip()
        return ""

    def is_ready(self) -> bool:
        """Whether it says so itself."""
        return self.readiness() == "ready"

    def logged(self, text: str) -> int:
        """Lines of the log that hold a text."""
        return sum(text in line for line in self.log.read_text(errors="replace").splitlines())

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it as a crash would."""
        self.may_end = True
        self.signal(signal.SIGKILL)
        self.process.wait()

    def terminate(self) -> None:
        """Ask it to leave."""
        self.may_end = True
        self.signal(signal.SIGTERM)

    def wait(self) -> int:
        """Wait until it has ended and return its exit code; one that stays fails the test."""
        self.may_end = True
        return self.process.wait(WAIT_SECONDS)

    def has_died(self) -> bool:
        """Whether it has ended although nobody asked."""
        return not self.may_end and self.process.poll() is not None

    def tail(self) -> str:
        """The end of its log, for a failure."""
        lines = self.log.read_text(errors="replace").splitlines()[-LOG_LINES:]
        return "\n".join(
            [f"--- {self.log.name} (exit code {self.process.poll()})", *lines, *self.standing()]
        )

    def standing(self) -> list[str]:
        """How far it says that it has come, by partition; nothing where it does not answer."""
        try:
            shown = self.get("/metrics").text.splitlines()
        except httpx.TransportError:
            return []
        return [line for line in shown if not line.startswith("#") and "partition=" in line]


@dataclass
class System:
    """Topics under a new prefix, the workers that a test starts on them, and a look at both.

    Leaving the ``with`` block kills the workers.

    Parameters
    ----------
    bootstrap_servers
        A Kafka that runs.
    folder
        For the logs.
    overrides
        Settings that differ from `SMALL`.
    launch
        How its workers are started. `start_as_user` is for tests of the process itself.
    """

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
        self._groups = merged(SMALL, self.overrides, {"kafka": address})
        self.settings = load_settings(**self._groups)
        self.clients, self.topics = self.settings.clients, self.settings.topics
        self.workers: list[Worker] = []

    def __enter__(self) -> System:
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
            self._guard.forget(worker.process.pid)
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
        """The variables of a process that has the system's settings."""
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
        """Write records to the clicks topic as somebody else's pipeline would."""
        for record in records:
            self._producer.produce(self.topics.clicks, **record._asdict())
            self._producer.poll(0)
        assert self._producer.flush(WAIT_SECONDS) == 0

    def end_block(self, block: int) -> None:
        """Send every partition the heartbeat that ends a block."""
        self._replayer.end_block(block)

    def view_again(self) -> None:
        """Look at topics that were made again."""
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
            self.wait_until(worker.holds_partitions, f"{worker.log.name} holds partitions")

    def wait_until_served(self, block: int) -> None:
        """Wait until a version that covers the block serves on every partition."""
        self.wait_until(lambda: self._serves(block), f"block {block} is served")

    def wait_until_sessions_have(self, clicks: int) -> None:
        """Wait until blocks that hold so many clicks, late ones included, have ended."""
        self.wait_until(lambda: self.clicks_in_blocks() >= clicks, f"{clicks} clicks in sessions")

    def wait_until_scored(self, clicks: int) -> None:
        """Wait until so many clicks have gone past inference."""
        self.wait_until(lambda: self.clicks_scored() >= clicks, f"{clicks} clicks scored")

    def clicks_in_blocks(self) -> int:
        """Clicks of the blocks that have ended."""
        return sum(counts.clicks for counts in self.view.blocks.values())

    def clicks_scored(self) -> int:
        """Clicks in `scores`, scored or not."""
        return sum(score.clicks for score in self.view.scores.values())

    def blocks_seen(self) -> str:
        """What of each block is seen in the topics, for a failure."""
        return "\n".join(f"block {number}: {c}" for number, c in sorted(self.view.blocks.items()))

    def log_tails(self) -> Iterator[str]:
        """What the workers said last."""
        return (worker.tail() for worker in self.workers)

    # --- what the topics hold

    def sessions(self) -> list[SessionRow]:
        """Every closed session, as the command line prints them, sorted."""
        done = self.command("sessions", "dump", "--json")
        assert done.returncode == 0, done.stderr
        rows = (json.loads(line) for line in done.stdout.splitlines())
        return sorted(SessionRow(**row | {"items": tuple(row["items"])}) for row in rows)

    def scores(self) -> dict[ScoreKey, Score]:
        """The last counts of every block, version and partition."""
        return dict(read_scores(self.clients, self.topics.scores))

    def manifests(self) -> list[Manifest]:
        """Every committed manifest in the order of the log: two of one version would be seen."""
        records = read_to_end(self.clients, self.topics.models)
        return [decode_manifest(r, self.settings.trust) for r in records if r.value() is not None]

    def outcome(self) -> Outcome:
        """Everything that must not depend on who died when."""
        return Outcome(self.sessions(), self.scores(), self.manifests())

    def records(self, topic: str) -> list[Record]:
        """The committed records of a topic, partition by partition."""
        partitions = partition_counts(self.clients.admin())[topic]
        return [r for p in range(partitions) for r in read_to_end(self.clients, topic, p)]

    def committed_offsets(self, process: str) -> dict[int, int]:
        """Partition → the offset that a group continues from; without those that have none."""
        consumer = self.clients.group_consumer(self.topics.group(process))
        places = [TopicPartition(self.topics.clicks, p) for p in range(self.partitions)]
        committed = consumer.committed(places, timeout=WAIT_SECONDS)
        consumer.close()
        return {place.partition: place.offset for place in committed if place.offset >= 0}

    def _serves(self, block: int) -> bool:
        served = self.view.served_block()
        return served is not None and served >= block


def merged(*layers: SettingsGroups) -> dict[str, dict[str, Any]]:
    """Settings of several layers; later ones win."""
    names = {name for layer in layers for name in layer}
    return {
        name: {key: value for layer in layers for key, value in layer.get(name, {}).items()}
        for name in names
    }


def as_variable(value: object) -> str:
    """Write a setting as an environment variable has it."""
    return value if isinstance(value, str) else json.dumps(value)
