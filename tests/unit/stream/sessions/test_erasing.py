"""What a partition of the sessionizer erases, when, and how that comes through a crash."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from ader_stream.stream.avro.codec import decode, encode
from ader_stream.stream.control.erasures import Erasures, erasure_request
from ader_stream.stream.sessions import partition_erasures
from ader_stream.stream.sessions.records.partition_state import PARTITION_KEY
from tests.fakes import FakeKafka, FakeRecord
from tests.unit.stream.sessions.test_task import (
    FAR,
    PARTITION,
    TOPICS,
    Sessionizer,
    click,
    heartbeat,
    keys_of,
    open_keys,
    sample,
    written,
)

FUTURE = 10**15


@pytest.fixture
def sessionizer(kafka: FakeKafka, registry: CollectorRegistry) -> Sessionizer:
    return Sessionizer(kafka, registry).restore()


def successor(kafka: FakeKafka, erasures: Erasures, **rule: Any) -> Sessionizer:
    """Another process, which has taken the partition over."""
    return Sessionizer(kafka, CollectorRegistry(), erasures=erasures, **rule).restore()


def ask(sessionizer: Sessionizer, key: str, end: int | None = None, **request: Any) -> None:
    """Ask to erase what stands below an offset, or else what happened up to `at`."""
    erasures = sessionizer.erasures
    if end is not None:
        request |= {"clicks_end": (0,) * PARTITION + (end,), "clicks_id": TOPICS.clicks}
    erasures.take(erasure_request(key, erasures, **request), erasures.next_offset)


def erase(sessionizer: Sessionizer, steps: int = 1) -> None:
    for _ in range(steps):
        sessionizer.task.tick(is_at_end=True)


def erased_to(kafka: FakeKafka) -> list[tuple[list[str], int]]:
    """Keys of each SessionBatch, and up to where no request covers them."""
    return [
        ([session["key"] for session in value["sessions"]], value["erased_to"])
        for _, name, value in written(kafka, TOPICS.sessions)
        if name == "SessionBatch"
    ]


def own_record(kafka: FakeKafka) -> dict[str, Any]:
    records = kafka.records(TOPICS.sessionizer_state, PARTITION)
    [*_, last] = [record for record in records if record.key() == PARTITION_KEY]
    return dict(decode(last.value(), last.headers())[1])


def test_an_erased_key_leaves_no_open_session_and_none_comes_out(
    kafka: FakeKafka, registry: CollectorRegistry, sessionizer: Sessionizer
) -> None:
    sessionizer.process(click("a", 10), click("b", 20, 1))
    sessionizer.commit()
    ask(sessionizer, "a", 2)
    assert not sessionizer.task.is_dirty()
    with capture_logs() as logs:
        erase(sessionizer)
    assert sessionizer.task.is_dirty()
    assert [line["sessions"] for line in logs if line["event"] == "erased"] == [1]
    assert "'a'" not in str(logs)
    sessionizer.commit()
    assert not sessionizer.task.is_dirty()
    assert kafka.records(TOPICS.sessionizer_state, PARTITION)[-2].value() is None
    sessionizer.process(heartbeat(1000))
    sessionizer.commit()
    assert keys_of(kafka) == [["b"]]
    assert sample(registry, "ader_erased_total", partition=PARTITION, what="sessions") == 1
    assert sample(registry, "ader_erasures_waiting", partition=PARTITION) == 0


@pytest.mark.parametrize("time", [10, FUTURE])
def test_what_stands_below_the_end_is_erased_whatever_its_clock_says(
    sessionizer: Sessionizer, time: int
) -> None:
    sessionizer.process(click("a", time), click("a", time + 500, 1))
    ask(sessionizer, "a", 2, at=1_000_000)
    erase(sessionizer)
    assert open_keys(sessionizer.task) == set()


def test_a_request_without_offsets_goes_by_time(sessionizer: Sessionizer) -> None:
    sessionizer.process(click("a", 50), click("b", 60, 1))
    ask(sessionizer, "a", at=49)
    ask(sessionizer, "b", at=60)
    erase(sessionizer)
    assert open_keys(sessionizer.task) == {"a"}


def test_who_takes_over_knows_what_is_erased(kafka: FakeKafka, sessionizer: Sessionizer) -> None:
    sessionizer.process(click("a", 10), click("b", 20, 1))
    sessionizer.commit()
    ask(sessionizer, "a", 2)
    erase(sessionizer)
    sessionizer.commit()
    assert own_record(kafka)["erased_to"] == 1
    after = successor(kafka, sessionizer.erasures)
    assert open_keys(after.task) == {"b"}
    after.process(click("a", 30, 2))
    erase(after)
    assert open_keys(after.task) == {"a", "b"}


def test_an_erasure_that_was_not_committed_is_done_again(
    kafka: FakeKafka, sessionizer: Sessionizer
) -> None:
    sessionizer.process(click("a", 10), click("b", 20, 1))
    sessionizer.commit()
    ask(sessionizer, "a", 2)
    erase(sessionizer)
    after = successor(kafka, sessionizer.erasures)
    assert open_keys(after.task) == {"a", "b"}
    erase(after)
    assert open_keys(after.task) == {"b"}


def test_who_comes_back_begins_a_new_session_and_keeps_it(sessionizer: Sessionizer) -> None:
    """Although it comes within the gap, in one batch with what is erased, and before a look."""
    ask(sessionizer, "a", 2)
    sessionizer.process(click("a", 10), click("b", 20, 1), click("a", 30, 2))
    [session] = sessionizer.task.window.sessions_of("a")
    assert session.items == ["at 30"]
    erase(sessionizer)
    assert open_keys(sessionizer.task) == {"a", "b"}


def test_who_came_back_in_the_middle_of_a_look_keeps_the_session_through_a_crash(
    kafka: FakeKafka,
    sessionizer: Sessionizer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(partition_erasures, "KEYS_AT_ONCE", 1)
    sessionizer.process(*(click(key, 10, at) for at, key in enumerate("bcda")))
    ask(sessionizer, "a", 4)
    erase(sessionizer)
    sessionizer.process(click("a", 20, 4))
    sessionizer.commit()
    assert (own_record(kafka)["erased_to"], own_record(kafka)["returned"]) == (0, [0])
    after = successor(kafka, sessionizer.erasures)
    erase(after, steps=9)
    [session] = after.task.window.sessions_of("a")
    assert session.items == ["at 20"]
    after.commit()
    assert (own_record(kafka)["erased_to"], own_record(kafka)["returned"]) == (1, [])


def test_a_request_is_applied_once_all_that_it_covers_is_read(
    registry: CollectorRegistry, sessionizer: Sessionizer
) -> None:
    ask(sessionizer, "a", 3)
    sessionizer.process(click("a", 10), click("b", 20, 1))
    erase(sessionizer)
    assert open_keys(sessionizer.task) == {"b"}  # what is there need not wait
    assert sample(registry, "ader_erasures_waiting", partition=PARTITION) == 1
    sessionizer.process(click("a", 30, 2))
    erase(sessionizer)
    assert open_keys(sessionizer.task) == {"b"}
    assert sample(registry, "ader_erasures_waiting", partition=PARTITION) == 0


def test_a_look_takes_a_few_keys_at_a_time_for_all_requests(
    sessionizer: Sessionizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partition_erasures, "KEYS_AT_ONCE", 4)
    keys = [f"k{at}" for at in range(10)]
    sessionizer.process(*(click(key, 10, at) for at, key in enumerate(keys)))
    for key in keys:
        ask(sessionizer, key, 10)
    left = []
    for _ in range(3):
        erase(sessionizer)
        left.append(len(open_keys(sessionizer.task)))
    assert left == [6, 2, 0]


def test_a_session_that_closes_before_it_is_erased_says_so(
    kafka: FakeKafka, sessionizer: Sessionizer
) -> None:
    sessionizer.process(click("a", 10), click("b", 20, 1))
    ask(sessionizer, "a", 2)
    sessionizer.process(click("c", 500, 2))
    sessionizer.commit()
    assert erased_to(kafka) == [(["a"], 0), (["b"], 1)]


def test_a_session_that_closed_just_before_its_request_was_applied_says_so(
    kafka: FakeKafka, sessionizer: Sessionizer
) -> None:
    sessionizer.process(click("a", 10), click("b", 500, 1))
    sessionizer.task.window.take_changed()  # closes what is over
    ask(sessionizer, "a", 2)
    erase(sessionizer)
    sessionizer.commit()
    sessionizer.process(heartbeat(999))
    sessionizer.commit()
    assert erased_to(kafka) == [(["a"], 0), (["b"], 1)]


def test_a_quarantined_click_is_erased_too(
    registry: CollectorRegistry, sessionizer: Sessionizer
) -> None:
    sessionizer.process(click("a", 10), click("far", FAR, 1))
    ask(sessionizer, "far", 2)
    erase(sessionizer)
    assert sessionizer.task.is_dirty()
    assert sessionizer.task._intake.held == {}
    assert sample(registry, "ader_erased_total", partition=PARTITION, what="quarantined") == 1
    sessionizer.commit()


def test_what_is_still_to_be_erased_becomes_no_dead_letter(
    kafka: FakeKafka, registry: CollectorRegistry, sessionizer: Sessionizer
) -> None:
    ask(sessionizer, "a", 2)
    poison = [
        FakeRecord(b"{", key, partition=PARTITION, offset=at)
        for at, key in enumerate((b"a", b"b", b"a"))
    ]
    sessionizer.process(*poison)
    sessionizer.commit()
    letters = written(kafka, TOPICS.dead_letters)
    assert [(key, letter["offset"]) for key, _, letter in letters] == [(b"b", 1), (b"a", 2)]
    assert sample(registry, "ader_erased_total", partition=PARTITION, what="dead_letters") == 1


def test_the_name_of_an_erased_key_stays_nowhere_in_the_state(
    kafka: FakeKafka, registry: CollectorRegistry
) -> None:
    """Neither as the only key of the log nor as one whose session closed at a bound."""
    sessionizer = Sessionizer(kafka, registry, max_clicks=1).restore()
    sessionizer.process(click("a", 10))
    sessionizer.commit()
    assert own_record(kafka)["sole_key"] == "a"
    ask(sessionizer, "a", 1)
    erase(sessionizer)
    assert sessionizer.task.is_dirty()
    sessionizer.commit()
    assert own_record(kafka)["sole_key"] is None
    last = {
        record.key(): record.value()
        for record in kafka.records(TOPICS.sessionizer_state, PARTITION)
    }
    assert last[b"a"] is None


def test_a_full_session_that_waits_for_its_block_is_erased(
    kafka: FakeKafka, registry: CollectorRegistry
) -> None:
    sessionizer = Sessionizer(kafka, registry, max_clicks=2, lateness=5_000).restore()
    sessionizer.process(click("b", 10), click("a", 1_010, 1), click("a", 1_020, 2))
    sessionizer.commit()
    assert sessionizer.task.window.full_sessions()
    ask(sessionizer, "a", 3)
    erase(sessionizer)
    sessionizer.commit()
    after = successor(kafka, sessionizer.erasures, max_clicks=2, lateness=5_000)
    assert open_keys(after.task) == {"b"}


def test_a_request_for_another_clicks_topic_or_before_the_partition_came_erases_nothing(
    sessionizer: Sessionizer,
) -> None:
    sessionizer.process(click("a", 10), click("b", 20, 1))
    ask(sessionizer, "a", clicks_end=(9, 9, 9), clicks_id="the one before")
    ask(sessionizer, "b", clicks_end=(9, 9), clicks_id=TOPICS.clicks)
    erase(sessionizer)
    assert open_keys(sessionizer.task) == {"a", "b"}
    assert sessionizer.task._erasures.waiting == 0


def test_requests_of_a_control_topic_that_was_made_again_are_all_applied(
    kafka: FakeKafka, sessionizer: Sessionizer
) -> None:
    for _ in range(3):
        ask(sessionizer, "x", 0)
    sessionizer.process(click("a", 10), click("b", 20, 1))
    erase(sessionizer)
    sessionizer.commit()
    assert own_record(kafka)["erased_to"] == 3
    kafka.topic_ids[TOPICS.control] = "made again"
    with capture_logs() as logs:
        after = successor(kafka, Erasures())
    assert any("control topic was created again" in line["event"] for line in logs)
    ask(after, "a", 2)
    erase(after)
    assert open_keys(after.task) == {"b"}


def test_a_worker_that_has_heard_less_than_the_one_before_applies_no_request_twice(
    kafka: FakeKafka, sessionizer: Sessionizer
) -> None:
    ask(sessionizer, "x", 0)
    ask(sessionizer, "a", 1)
    sessionizer.process(click("a", 10))
    erase(sessionizer)
    sessionizer.process(click("a", 20, 1))
    sessionizer.commit()
    behind = Erasures()
    after = successor(kafka, behind)
    erase(after)
    for erasure in sessionizer.erasures.since(0):
        request = erasure_request("a", sessionizer.erasures, erasure.clicks_end, erasure.clicks_id)
        behind.take(request, erasure.offset)
        erase(after)
    assert open_keys(after.task) == {"a"}


def test_a_state_of_an_earlier_release_has_every_request_applied(
    kafka: FakeKafka, sessionizer: Sessionizer
) -> None:
    sessionizer.process(click("a", 10), click("b", 20, 1))
    sessionizer.commit()
    state = own_record(kafka) | {"erased_to": 0, "returned": [], "control_id": ""}
    value, headers = encode("PartitionState", state)
    kafka.append(TOPICS.sessionizer_state, value, PARTITION_KEY, headers, PARTITION)
    ask(sessionizer, "a", 2)
    after = successor(kafka, sessionizer.erasures)
    erase(after)
    assert open_keys(after.task) == {"b"}
