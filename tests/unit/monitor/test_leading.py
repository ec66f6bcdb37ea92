"""A leader counts, commits and shows, and leaves nothing outdated behind."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from prometheus_client import CollectorRegistry

from ader_stream import metrics as m
from ader_stream.errors import FencedError
from ader_stream.metrics import Metrics
from ader_stream.monitor.leading import Schedule, Shown, lead
from ader_stream.monitor.status.whole import StatusBoard
from ader_stream.types import BlockRule
from tests.fakes import Clock, FakeKafka
from tests.unit.monitor.shop import BLOCK_MS, five_blocks, monitor, numbers, shop_topics


class Leadership:
    """Is lost after some looks; notes what was shown at each of them."""

    def __init__(self, looks: int) -> None:
        self.looks = looks
        self.shown = Shown(StatusBoard(), Metrics(CollectorRegistry()))
        self.states: list[str] = []

    def require(self) -> None:
        self.states.append(self.shown.board.status.state)
        if len(self.states) > self.looks:
            raise FencedError("another process leads now")


def leading(kafka: FakeKafka, leadership: Leadership, looks: int) -> None:
    lead(
        monitor(kafka),
        leadership,
        leadership.shown,
        BlockRule(0, BLOCK_MS),
        0.0,
        lambda: len(leadership.states) >= looks,
    )


@pytest.fixture
def kafka() -> FakeKafka:
    kafka = shop_topics()
    for _ in five_blocks(kafka):
        pass
    return kafka


def test_what_was_counted_is_committed_at_the_end(kafka: FakeKafka) -> None:
    leading(kafka, Leadership(10), 1)
    uninterrupted = monitor(kafka)
    uninterrupted.poll(0)
    assert numbers(monitor(kafka)) == numbers(uninterrupted)


def test_a_leader_that_has_lost_shows_nothing_any_more(kafka: FakeKafka) -> None:
    leadership = Leadership(3)
    with pytest.raises(FencedError):
        leading(kafka, leadership, 10)
    assert "reading" in leadership.states
    assert leadership.shown.board.status.state == "standby"
    assert next(iter(leadership.shown.metrics[m.DRIFT_BLOCK].collect())).samples == []


def test_a_change_is_counted_once() -> None:
    board = StatusBoard(Clock())
    board.show(board.status)
    assert board.changes == 0
    board.show(SimpleNamespace(as_json=lambda: {"state": "showing"}))
    assert (board.changes, board.json["state"]) == (1, "showing")


def test_what_takes_long_is_done_less_often() -> None:
    clock, done = Clock(), list[float]()

    def work() -> None:
        done.append(clock.seconds)
        clock.seconds += 2

    schedule = Schedule(1.0, clock)
    for _ in range(50):
        schedule.run_if_due(work)
        clock.seconds += 1
    assert done == [0, 22, 44]
