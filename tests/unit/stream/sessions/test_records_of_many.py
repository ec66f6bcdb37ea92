"""What a sessionizer does with records that hold many clicks (`clicks.explode`)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from ader_stream.stream.clicks.decoder import ClickFormat
from ader_stream.stream.control.erasures import Erasures
from tests.fakes import FakeKafka, FakeRecord
from tests.unit.stream.sessions.test_erasing import ask
from tests.unit.stream.sessions.test_task import (
    FAR,
    PARTITION,
    TOPICS,
    Sessionizer,
    heartbeat,
    open_keys,
    sample,
    written,
)

FORMAT = ClickFormat(explode="clicks", event_id="id")


def reader(
    kafka: FakeKafka, registry: CollectorRegistry | None = None, **given: Any
) -> Sessionizer:
    return Sessionizer(kafka, registry or CollectorRegistry(), format_=FORMAT, **given)


@pytest.fixture
def sessionizer(kafka: FakeKafka, registry: CollectorRegistry) -> Sessionizer:
    return reader(kafka, registry).restore()


def many(*clicks: tuple[str, object], offset: int = 0, headers: Any = None) -> FakeRecord:
    """A record of clicks, each a key and an event time; each has an event id."""
    elements = [
        {"session": key, "item": f"at {time}", "time": time, "id": f"{offset}/{at}"}
        for at, (key, time) in enumerate(clicks)
    ]
    value = json.dumps({"clicks": elements}).encode()
    place = {"partition": PARTITION, "offset": offset, "timestamp": 7}
    return FakeRecord(value, b"batch", headers=headers, **place)


def letters(kafka: FakeKafka) -> list[dict[str, Any]]:
    return [letter for _, _, letter in written(kafka, TOPICS.dead_letters)]


def sessions(kafka: FakeKafka) -> list[tuple[str, list[int]]]:
    batches = [v for _, name, v in written(kafka, TOPICS.sessions) if name == "SessionBatch"]
    return [(s["key"], s["times"]) for batch in batches for s in batch["sessions"]]


def test_clicks_are_taken_in_the_order_of_the_list(
    kafka: FakeKafka, registry: CollectorRegistry, sessionizer: Sessionizer
) -> None:
    sessionizer.process(many(("a", 10), ("b", 20), ("a", 30)), heartbeat(1000))
    sessionizer.commit()
    assert sorted(sessions(kafka)) == [("a", [10, 30]), ("b", [20])]
    assert sample(registry, "ader_clicks_total", partition=PARTITION) == 4


def test_what_is_bad_in_a_record_becomes_one_letter_a_reason_and_the_rest_counts(
    kafka: FakeKafka, registry: CollectorRegistry, sessionizer: Sessionizer
) -> None:
    sessionizer.process(many(("a", 10), ("b", "x"), ("c", 20), ("", 5), ("d", "y")))
    sessionizer.commit()
    [letter] = letters(kafka)
    assert (letter["reason"], letter["elements"], letter["sessions"]) == (
        "bad-value",
        [1, 3, 4],
        ["b", "d"],
    )
    assert open_keys(sessionizer.task) == {"a", "c"}
    assert sample(registry, "ader_dead_letters_total", reason="bad-value") == 3


def test_elements_that_are_sent_back_are_the_only_ones_that_count_again(
    kafka: FakeKafka, sessionizer: Sessionizer
) -> None:
    sessionizer.process(many(("a", 10), ("b", 20)))
    sessionizer.process(many(("a", 10), ("b", 20), offset=1, headers=[("ader-elements", b"1")]))
    sessionizer.process(heartbeat(1000))
    sessionizer.commit()
    assert sorted(sessions(kafka)) == [("a", [10]), ("b", [20, 20])]


def test_a_second_reading_of_a_record_is_of_duplicates(
    kafka: FakeKafka, registry: CollectorRegistry, sessionizer: Sessionizer
) -> None:
    sessionizer.process(many(("a", 10), ("b", 20)), many(("a", 10), ("b", 20)))
    assert sample(registry, "ader_duplicate_clicks_total", partition=PARTITION) == 2


def test_quarantined_elements_are_handed_over_and_refused_one_by_one(
    kafka: FakeKafka, sessionizer: Sessionizer
) -> None:
    sessionizer.process(many(("a", 10)), many(("a", 12), ("x", FAR), ("y", FAR), offset=1))
    sessionizer.process(many(("b", 20), offset=2))
    sessionizer.commit()
    successor = reader(kafka).restore(3)
    assert sorted(successor.task._intake.held) == [(1, 1), (1, 2)]
    successor.process(many(("b", 20), offset=11))
    successor.commit()
    assert [(x["reason"], x["elements"], x["sessions"]) for x in letters(kafka)] == [
        ("future", [1], ["x"]),
        ("future", [2], ["y"]),
    ]
    assert not reader(kafka).restore().task._intake.held


def test_late_elements_share_a_letter(kafka: FakeKafka) -> None:
    refusing = reader(kafka, late="dead-letter").restore()
    refusing.process(many(("a", 10), ("b", 500), ("a", 20), ("c", 30)))
    refusing.commit()
    assert [(x["reason"], x["elements"]) for x in letters(kafka)] == [("late", [2, 3])]
    assert refusing.task.window.watermark == 500


def test_no_letter_names_an_element_whose_key_is_to_be_erased(kafka: FakeKafka) -> None:
    refusing = reader(kafka, erasures=Erasures()).restore()
    ask(refusing, "b", 5)
    refusing.process(many(("b", "x"), ("c", "x")))
    refusing.commit()
    assert [(x["elements"], x["sessions"]) for x in letters(kafka)] == [([1], ["c"])]


def test_the_whole_record_is_refused_where_it_holds_no_list(
    kafka: FakeKafka, sessionizer: Sessionizer
) -> None:
    sessionizer.process(FakeRecord(b'{"user": 1}', partition=PARTITION))
    sessionizer.commit()
    assert [(x["reason"], x["elements"]) for x in letters(kafka)] == [("missing-field", [])]


def test_an_empty_list_is_counted(
    kafka: FakeKafka, registry: CollectorRegistry, sessionizer: Sessionizer
) -> None:
    sessionizer.process(many())
    sessionizer.commit()
    assert sample(registry, "ader_ignored_records_total", reason="empty", partition=PARTITION) == 1
    assert not letters(kafka)
