from __future__ import annotations

import threading
from dataclasses import dataclass

import pytest
from confluent_kafka import KafkaError, KafkaException

from ader_stream.errors import FencedError
from ader_stream.stream.transactions import requests
from ader_stream.stream.transactions.requests import is_lost, retried, side_by_side

RETRIABLE = KafkaError(KafkaError._TIMED_OUT, retriable=True)
FINAL = KafkaError(KafkaError._TIMED_OUT, txn_requires_abort=True)


@dataclass
class Request:
    """A request that fails with these errors before it goes well."""

    errors: list[KafkaError]
    asked: int = 0

    def __call__(self) -> None:
        self.asked += 1
        if self.errors:
            raise KafkaException(self.errors.pop(0))


def test_a_request_is_repeated_while_that_may_help() -> None:
    request = Request([RETRIABLE, RETRIABLE])
    retried(request)
    assert request.asked == 3


def test_a_request_that_needs_an_abort_is_not_repeated() -> None:
    request = Request([FINAL])
    with pytest.raises(KafkaException):
        retried(request)
    assert request.asked == 1


def test_a_request_is_not_repeated_for_ever() -> None:
    request = Request([RETRIABLE] * 3)
    with pytest.raises(KafkaException) as failed:
        retried(request, 0)
    assert request.asked == 1
    assert is_lost(failed.value.args[0])


def test_requests_of_several_partitions_are_done_side_by_side() -> None:
    everyone_is_here = threading.Barrier(3, timeout=10)
    assert side_by_side(lambda _: everyone_is_here.wait() and None, [0, 1, 2], 10) == {}


@pytest.mark.parametrize(
    ("error", "seconds", "loses_producer"),
    [(FINAL, 10, False), (RETRIABLE, 0, True)],
    ids=["final", "time is over"],
)
def test_what_fails_on_one_partition_stops_no_other(
    error: KafkaError, seconds: float, loses_producer: bool
) -> None:
    done = []

    def request(partition: int) -> None:
        if partition == 1:
            raise KafkaException(error)
        done.append(partition)

    failed = side_by_side(request, [0, 1, 2], seconds)
    assert {p: is_lost(why.args[0]) for p, why in failed.items()} == {1: loses_producer}
    assert sorted(done) == [0, 2]


def test_a_request_that_does_not_return_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    monkeypatch.setattr(requests, "HANG_SECONDS", 0.03)
    with pytest.raises(FencedError, match=r"partition 1 has not returned in 0.05 s"):
        side_by_side(lambda partition: partition and release.wait() and None, [0, 1], 0.02)
    release.set()


def test_a_request_of_one_partition_is_repeated_while_that_may_help() -> None:
    errors = {0: [], 1: [RETRIABLE, RETRIABLE], 2: [RETRIABLE, FINAL]}
    asked = []

    def request(partition: int) -> None:
        asked.append(partition)
        if errors[partition]:
            raise KafkaException(errors[partition].pop(0))

    assert [*side_by_side(request, [0, 1, 2], 10)] == [2]
    assert sorted(asked) == [0, 1, 1, 1, 2, 2]
