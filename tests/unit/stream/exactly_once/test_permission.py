"""A right that is taken away is waited for; one that was never there ends the worker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from confluent_kafka import KafkaError, KafkaException

from ader_stream.errors import AuthorizationError, FencedError
from ader_stream.stream.exactly_once import permission as permission_
from ader_stream.stream.exactly_once.commit_health import CommitHealth
from ader_stream.stream.exactly_once.permission import Permission, is_refused
from ader_stream.stream.kafka.clients import KafkaClients
from ader_stream.stream.kafka.rights import MissingRight, Right
from tests.fakes import Clock

TOPIC = Right("Topic", "sessions", ("Write",))
ID = Right("TransactionalId", "ader.sessionizer.", ("Write",), "", ("ader.sessionizer.0",))
LACK = MissingRight(TOPIC, ("Write",), ("sessions",))
REFUSAL = KafkaException(KafkaError(KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED))


class Cluster:
    """Says what lacks: each look at it takes the next answer, the last one stays."""

    def __init__(self, *answers: list[MissingRight]) -> None:
        self.answers = list(answers)
        self.looks = 0

    def find(self, *_: object) -> list[MissingRight]:
        self.looks += 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.fixture
def commits() -> CommitHealth:
    return CommitHealth()


def permission(
    monkeypatch: pytest.MonkeyPatch, cluster: Cluster, commits: CommitHealth, clock: Clock
) -> Permission:
    def sleep(seconds: float) -> None:
        clock.seconds += seconds

    monkeypatch.setattr(permission_, "find_missing_rights", cluster.find)
    monkeypatch.setattr(KafkaClients, "admin", lambda _: None)
    clients = KafkaClients("kafka:9092")
    return Permission(clients, "sessionizer", [TOPIC, ID], commits, clock, sleep)


def never() -> bool:
    return False


def test_a_right_that_was_never_there_ends_the_worker(
    monkeypatch: pytest.MonkeyPatch, commits: CommitHealth, clock: Clock
) -> None:
    asked = permission(monkeypatch, Cluster([LACK]), commits, clock)

    with pytest.raises(AuthorizationError, match="needs Write on Topic sessions"):
        asked.wait_after(AuthorizationError("refused"), never)


def test_a_right_that_is_taken_away_is_waited_for_and_named(
    monkeypatch: pytest.MonkeyPatch, commits: CommitHealth, clock: Clock
) -> None:
    cluster = Cluster([LACK], [LACK], [])
    asked = permission(monkeypatch, cluster, commits, clock)
    asked.note_granted()

    asked.wait_after(AuthorizationError("refused"), never)

    assert cluster.looks == 3
    assert clock.seconds == pytest.approx(2 * permission_.RETRY_SECONDS, abs=0.2)
    assert "needs Write on Topic sessions" in commits.not_ready()


def test_a_refusal_that_brokers_do_not_explain_is_named_by_its_kind(
    monkeypatch: pytest.MonkeyPatch, commits: CommitHealth, clock: Clock
) -> None:
    asked = permission(monkeypatch, Cluster([]), commits, clock)
    asked.note_granted()

    asked.wait_after(REFUSAL, never)

    assert "needs Write on TransactionalId ader.sessionizer.*" in commits.not_ready()
    assert clock.seconds == pytest.approx(permission_.RETRY_SECONDS, abs=0.2)


def test_who_is_asked_to_stop_waits_no_longer(
    monkeypatch: pytest.MonkeyPatch, commits: CommitHealth, clock: Clock
) -> None:
    asked = permission(monkeypatch, Cluster([LACK]), commits, clock)
    asked.note_granted()
    answers: Iterator[bool] = iter([False, False, True, True])

    asked.wait_after(AuthorizationError("refused"), lambda: next(answers))

    assert clock.seconds < 1


def test_who_waits_stays_a_member(
    monkeypatch: pytest.MonkeyPatch, commits: CommitHealth, clock: Clock
) -> None:
    asked = permission(monkeypatch, Cluster([LACK], []), commits, clock)
    polls: list[float] = []

    asked.wait_until_granted(lambda: polls.append(clock.seconds))

    assert len(polls) > 10


def test_what_stops_between_two_looks_comes_out(
    monkeypatch: pytest.MonkeyPatch, commits: CommitHealth, clock: Clock
) -> None:
    def fenced() -> None:
        raise FencedError("another one leads")

    with pytest.raises(FencedError):
        permission(monkeypatch, Cluster([LACK]), commits, clock).wait_until_granted(fenced)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (AuthorizationError(""), True),
        (REFUSAL, True),
        (KafkaException(KafkaError(KafkaError._TIMED_OUT)), False),
        (FencedError(""), False),
    ],
)
def test_only_what_is_refused_is_waited_for(error: Exception, expected: bool) -> None:
    assert is_refused(error) is expected
