"""Test what sends clicks and what reads recommendations against a running ader-stream.

Copy this file into your tests, and put your own producer in place of `send_visit`.
"""

from __future__ import annotations

import json

from confluent_kafka import Producer


def send_visit(servers: str, topic: str, visit: str, items: list[str], first_time: int) -> None:
    """Write a click for each item, a second apart; event times are ms since 1970."""
    producer = Producer({"bootstrap.servers": servers, "partitioner": "murmur2_random"})
    for number, item in enumerate(items):
        click = {"session": visit, "item": item, "time": first_time + 1000 * number}
        producer.produce(topic, json.dumps(click).encode(), key=visit)
    assert producer.flush(60) == 0


def test_a_visit_becomes_a_session(ader_system):
    clicks = ader_system.topics.clicks
    send_visit(ader_system.bootstrap_servers, clicks, "visit-1", ["hat", "shoe"], ader_system.now)
    ader_system.end_block()  # sends the heartbeats that end the open block: no test waits for it
    assert ader_system.sessions_of("visit-1") == [("hat", "shoe")]


def test_recommendations_come_from_the_newest_version(ader_system):
    ader_system.send_clicks([("visit-1", "hat"), ("visit-1", "shoe"), ("visit-2", "bag")])
    ader_system.end_block()
    first = ader_system.wait_for_version()

    ader_system.send_clicks([("visit-3", "hat")])
    # The fake trainer knows the items, not what follows what: test which, not in what order.
    assert set(ader_system.recommendations_for("visit-3")) <= {"hat", "shoe", "bag"}

    ader_system.send_clicks([("visit-4", "coat"), ("visit-4", "hat")])
    ader_system.end_block()
    ader_system.wait_for_version(newer_than=first)
    assert "coat" in ader_system.recommendations_for(["hat"])


def test_no_click_is_lost_while_the_broker_is_down(ader_system):
    with ader_system.break_broker():
        producer = Producer({"bootstrap.servers": ader_system.bootstrap_servers})
        click = {"session": "visit-1", "item": "hat", "time": ader_system.now}
        producer.produce(ader_system.topics.clicks, json.dumps(click).encode(), key="visit-1")
    assert producer.flush(60) == 0
    ader_system.end_block()
    assert ader_system.sessions_of("visit-1") == [("hat",)]
