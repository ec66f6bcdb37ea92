"""Clicks of the real shape for the sessionizer's benchmarks, and how they get into a topic."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator

from ader_stream.settings import Settings, load_settings
from ader_stream.stream.avro.encoding import long_bytes, text_bytes
from ader_stream.stream.topics.topics import create_topics
from ader_stream.types import MINUTE_MS, Click

SESSION_CLICKS = 5
"""Clicks of a visit on average, as in the data sets of the paper."""

FIRST_TIME = 1_700_000_000_000
ITEMS = 50_000


def clicks_of(visitors: int, count: int) -> Iterator[Click]:
    """Visitors who come one after the other, in half an hour; then they click in random order.

    Each clicks every five minutes on average, and one by one they make room for others.
    """
    rng = random.Random(visitors)
    names, born, now = [f"visitor-{n}" for n in range(visitors)], visitors, float(FIRST_TIME)
    for number in range(count):
        have_come = number >= visitors
        now += (5 if have_come else 30) * MINUTE_MS / visitors
        who = int(rng.random() * visitors) if have_come else number
        yield Click(names[who], f"item-{int(rng.random() * ITEMS)}", int(now))
        if rng.random() < 1 / SESSION_CLICKS:
            names[who], born = f"visitor-{born}", born + 1


def click_bytes(click: Click) -> bytes:
    """A click as our own Avro schema has it, without id and extra fields."""
    return text_bytes(click.key) + text_bytes(click.item) + long_bytes(click.time) + b"\0\0"


def write_clicks(address: str, partitions: int, visitors: int, count: int) -> str:
    """Write clicks to a new topic and return its name."""
    topic = f"bench-{uuid.uuid4().hex[:8]}.clicks"
    settings = settings_of(address, topic, "unused")
    create_topics(settings.clients.admin(), settings.topics, partitions, with_clicks=True)
    producer = settings.clients.producer(partitioner="murmur2_random", linger_ms=50)
    for number, click in enumerate(clicks_of(visitors, count)):
        producer.produce(topic, click_bytes(click), click.key)
        if number % 1_000 == 0:
            while len(producer) > 50_000:
                producer.poll(0.05)
            producer.poll(0)
    producer.flush(60)
    return topic


def settings_of(address: str, topic: str, prefix: str, **sessions: str) -> Settings:
    """Settings of a sessionizer that reads a topic of Avro clicks."""
    return load_settings(
        kafka={"bootstrap_servers": address, "prefix": prefix},
        clicks={"topic": topic, "format": "avro"},
        sessions={"max_open": 2_000_000, **sessions},
        sessionizer={"idle_timeout": "off"},
    )
