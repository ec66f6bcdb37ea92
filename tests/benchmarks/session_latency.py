"""From the click that closes a session to the session, as a reader of committed records sees it.

Clicks carry the time at which they are sent. A session closes when the stream time passes its last
click plus the gap, and at thousands of clicks a second that is when this moment comes: whatever
the session comes later is latency.
"""

from __future__ import annotations

import random
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from confluent_kafka import TopicPartition

from ader_stream.settings import Settings
from ader_stream.stream.avro.codec import decode
from ader_stream.stream.kafka.reading import valid_records
from ader_stream.testing.processes import start_as_user
from ader_stream.types import Click
from tests.benchmarks.session_clicks import SESSION_CLICKS, click_bytes
from tests.integration.system import System

GAP_MS = 1_000
OVERRIDES = {"clicks": {"format": "avro"}, "sessions": {"gap": f"{GAP_MS}ms"}}
RATE = 20_000
TICK_SECONDS = 0.01
WARM_UP_SECONDS = 5.0
QUIET_SECONDS = 3.0
"""Nothing comes for so long: the worker has done what was sent."""

VISITORS = 20_000
"""Each clicks once a second on average: about the gap, so that sessions come and go."""


def measure_latency(address: str, partitions: int, seconds: float) -> dict[str, float]:
    """Milliseconds at `RATE` clicks a second; the sessionizer runs as it is deployed.

    Every session counts that closes in the `seconds` after a worker that holds all partitions was
    warmed up, however late it comes.
    """
    with (
        tempfile.TemporaryDirectory() as folder,
        System(address, Path(folder), OVERRIDES, partitions, start_as_user) as system,
    ):
        system.wait_until_holding(system.start("sessionizer"))
        settings = system.settings
        sender = threading.Thread(target=send, args=(settings, WARM_UP_SECONDS + seconds))
        sender.start()
        measured_from = (time.time() + WARM_UP_SECONDS) * 1_000
        found = sorted(
            came_at - closed_at
            for closed_at, came_at in sessions(settings, partitions, sender.is_alive)
            if closed_at >= measured_from
        )
        sender.join()
    at = {f"p{rank}_ms": found[len(found) * rank // 100] for rank in (50, 99)}
    return {"partitions": partitions, "rate": RATE, "sessions": len(found), **at}


def send(settings: Settings, seconds: float) -> None:
    """Send clicks at a steady rate; visitors come and go."""
    producer = settings.clients.producer(partitioner="murmur2_random")
    names, born, due = list(range(VISITORS)), VISITORS, 0.0
    started = time.monotonic()
    while (now := time.monotonic() - started) < seconds:
        while due < now * RATE:
            who = int(random.random() * VISITORS)
            click = Click(f"visitor-{names[who]}", "item-7", int(time.time() * 1_000))
            producer.produce(settings.topics.clicks, click_bytes(click), click.key)
            if random.random() < 1 / SESSION_CLICKS:
                names[who], born = born, born + 1
            due += 1
        producer.poll(TICK_SECONDS)
    producer.flush(10)


def sessions(
    settings: Settings, partitions: int, are_sent: Callable[[], bool]
) -> Iterator[tuple[float, float]]:
    """Yield, of each session, ms at which it closed and at which a reader has it."""
    reader, topic = settings.clients.reader(), settings.topics.sessions
    reader.assign([TopicPartition(topic, partition, 0) for partition in range(partitions)])
    last_at = time.monotonic()
    while are_sent() or time.monotonic() - last_at < QUIET_SECONDS:
        records = valid_records(reader.consume(100, 0.01))
        at = time.time() * 1_000
        for record in records:
            type_name, value = decode(record.value(), record.headers())
            if type_name == "SessionBatch":
                yield from ((s["times"][-1] + GAP_MS, at) for s in value["sessions"])
                last_at = time.monotonic()
    reader.close()
