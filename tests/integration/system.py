"""The whole system as our own tests run it, and what it leaves in the topics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol

from ader_stream.stream.kafka.reading import read_to_end
from ader_stream.stream.kafka.records import Record
from ader_stream.stream.model_registry.manifest import Manifest
from ader_stream.stream.model_registry.manifest_record import decode_manifest
from ader_stream.stream.scores.score_log import Score, ScoreKey, read_scores
from ader_stream.stream.topics.topics import partition_counts
from ader_stream.testing import system
from ader_stream.testing.system import (
    PARTITIONS,
    POLL_SECONDS,
    RawRecord,
    SessionRow,
    SettingsGroups,
    merged,
)
from ader_stream.testing.worker import WAIT_SECONDS, Worker

__all__ = [
    "LEAVE_SECONDS",
    "PARTITIONS",
    "POLL_SECONDS",
    "SMALL",
    "WAIT_SECONDS",
    "Kafka",
    "Outcome",
    "RawRecord",
    "SessionRow",
    "SettingsGroups",
    "System",
    "Worker",
    "merged",
]

LEAVE_SECONDS = 10.0
"""A worker leaves within this after SIGTERM."""

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


class Outcome(NamedTuple):
    """What a run has left in the topics."""

    sessions: list[SessionRow]
    scores: dict[ScoreKey, Score]
    manifests: list[Manifest]


@dataclass
class System(system.System):
    """A system with the settings of `SMALL`, and every look at its topics."""

    DEFAULTS: ClassVar[SettingsGroups] = SMALL

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
