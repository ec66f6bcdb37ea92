"""A process stands by until it is chosen, and comes back, whatever ends its leadership."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, KafkaException
from prometheus_client import CollectorRegistry

from ader_stream.errors import FencedError
from ader_stream.metrics import MONITOR_LEADER, Metrics
from ader_stream.stream.exactly_once import election
from ader_stream.stream.exactly_once.commit_health import CommitHealth
from ader_stream.stream.exactly_once.election import Election
from ader_stream.stream.exactly_once.permission import Permission
from tests.fakes import FakeKafka

FENCED = KafkaException(KafkaError(KafkaError._FENCED, "fenced by another", fatal=True))


class Group:
    """A group that assigns its partition at the polls that are named, and ends after the last."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *polls: bool | Exception) -> None:
        monkeypatch.setattr(election, "Leadership", self._join)
        monkeypatch.setattr(election, "REJOIN_SECONDS", 0.0)
        self._polls = list(polls)
        self._member = SimpleNamespace(
            poll=self._poll, holds=False, has_joined=False, close=self._leave
        )
        self.joined = self.left = self.led = 0
        self.leads: list[float] = []
        self.commits = CommitHealth()
        self.gauge = Metrics(CollectorRegistry())[MONITOR_LEADER]
        permission = Permission(FakeKafka(), "monitor", [], self.commits)
        self.election = Election(
            FakeKafka(), "ader.state", "ader.monitor", permission, self._is_over, self.gauge
        )

    def run(self, *failures: Exception) -> None:
        """Lead whenever it is chosen; each leadership ends with one of the failures."""
        left = list(failures)

        def lead(_: object) -> None:
            self.led += 1
            self.leads.append(self.gauge._value.get())
            if left:
                raise left.pop(0)

        self.election.run(lead)

    def _join(self, *_: object) -> SimpleNamespace:
        self.joined += 1
        return self._member

    def _poll(self, timeout: float) -> None:
        next_one = self._polls.pop(0)
        if isinstance(next_one, Exception):
            raise next_one
        self._member.has_joined, self._member.holds = True, next_one

    def _leave(self) -> None:
        self.left += 1

    def _is_over(self) -> bool:
        return not self._polls


def test_a_standby_does_not_lead_and_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    group = Group(monkeypatch, False, False)
    assert group.election.not_ready() == "waiting for the group"
    group.run()
    assert (group.led, group.election.not_ready()) == (0, "")


def test_it_leads_once_it_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    group = Group(monkeypatch, False, True)
    group.run()
    assert (group.leads, group.gauge._value.get()) == ([1], 0)


def test_a_leader_that_is_fenced_stays_in_its_group_and_says_why_it_is_not_ready(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    group = Group(monkeypatch, True, True)
    group.run(FencedError("first"), FencedError("another one leads"))
    assert (group.led, group.joined, group.left) == (2, 1, 1)
    assert group.election.not_ready() == "cannot commit: another one leads"


def test_a_client_that_fails_is_replaced_by_one_that_joins_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    group = Group(monkeypatch, FENCED, True, True)
    group.run(FENCED)
    assert (group.led, group.joined, group.left) == (2, 3, 3)


def test_any_other_error_ends_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    group = Group(monkeypatch, True)
    with pytest.raises(ZeroDivisionError):
        group.run(ZeroDivisionError())
    assert (group.left, group.gauge._value.get()) == (1, 0)
