"""A trainer stands by and comes back, whatever ends its leadership."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, KafkaException
from prometheus_client import CollectorRegistry

from ader_stream.errors import FencedError
from ader_stream.metrics import LEADER, Metrics
from ader_stream.settings import load_settings
from ader_stream.stream.exactly_once import election
from ader_stream.stream.exactly_once.commit_health import CommitHealth
from consumers import trainer

FENCED = KafkaError(KafkaError._FENCED, "fenced by another", fatal=True)


class Trainer:
    """A trainer process in which each leadership, or each look at the group, ends with an error."""

    def __init__(self, polls: list[Exception], leaderships: list[Exception]) -> None:
        self.polls, self.leaderships = polls, leaderships
        self.memberships = self.left = 0
        self.metrics = Metrics(CollectorRegistry())
        self.commits = CommitHealth()
        self.leader: list[float] = []

    @contextmanager
    def process(self, *_: object) -> Iterator[Trainer]:
        yield self

    def serve(self) -> None:
        pass

    def should_stop(self) -> bool:
        return not self.polls and not self.leaderships

    def join(self, *_: object) -> SimpleNamespace:
        self.memberships += 1
        return SimpleNamespace(poll=self.poll, holds=True, has_joined=True, close=self.close)

    def poll(self, timeout: float) -> None:
        if self.polls:
            raise self.polls.pop(0)

    def lead(self) -> None:
        self.leader.append(self.metrics[LEADER]._value.get())
        raise self.leaderships.pop(0)

    def close(self) -> None:
        self.left += 1


def run(monkeypatch: pytest.MonkeyPatch, process: Trainer) -> None:
    monkeypatch.setattr(election, "REJOIN_SECONDS", 0.0)
    monkeypatch.setattr(trainer, "Process", process.process)
    monkeypatch.setattr(election, "Leadership", process.join)
    monkeypatch.setattr(trainer, "_Leader", lambda *_: process)
    monkeypatch.setattr(trainer, "check_topics", lambda *_: 1)
    monkeypatch.setattr(trainer, "connect", lambda *_: [])
    monkeypatch.setattr(trainer, "blocks_in_force", lambda *given: given[-1])
    trainer.run(load_settings())


def test_a_leader_that_is_fenced_stays_in_its_group(monkeypatch: pytest.MonkeyPatch) -> None:
    process = Trainer([], [FencedError("another one leads")] * 3)
    run(monkeypatch, process)
    assert process.leader == [1, 1, 1]
    assert (process.memberships, process.left) == (1, 1)
    assert process.metrics[LEADER]._value.get() == 0


def test_a_trainer_whose_client_fails_joins_its_group_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    process = Trainer([KafkaException(FENCED)] * 2, [KafkaException(FENCED)] * 3)
    run(monkeypatch, process)
    assert (process.memberships, process.left) == (5, 5)
