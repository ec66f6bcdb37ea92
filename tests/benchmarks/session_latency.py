"""From the click that closes a session to the session, as a reader of committed records sees it.

Clicks carry the time at which they are sent. A session closes when the stream time passes its last
click plus the gap, and at thousands of clicks a second that is when this moment comes: whatever
the session comes later is latency.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator

from confluent_kafka import TopicPartition

from ader_stream.settings import Settings
from ader_stream.stream.kafka.changelog import checked
from ader_stream.stream.kafka.codec import decode
from ader_stream.stream.kafka.topics import create_topics
from ader_stream.types import Click
from tests.benchmarks.session_clicks import SESSION_CLICKS, click_bytes, settings_of

GAP_MS = 1_000
RATE = 20_000
TICK_SECONDS = 0.01
WARM_UP_SECONDS = 5.0
VISITORS = 20_000
"""Each clicks once a second on average: about the gap, so that sessions come and go."""


def measure_latency(address: str, partitions: int, seconds: float) -> dict[str, float]:
    """Milliseconds at `RATE` clicks a second; the sessionizer runs as it is deployed."""
    name = f"bench-{uuid.uuid4().hex[:8]}"
    settings = settings_of(address, f"{name}.clicks", name)
    create_topics(settings.clients.admin(), settings.topics, partitions)
    own = {
        "ADER_KAFKA_BOOTSTRAP_SERVERS": address,
        "ADER_KAFKA_PREFIX": name,
        "ADER_CLICKS_FORMAT": "avro",
        "ADER_SESSIONS_GAP": f"{GAP_MS}ms",
        "ADER_SESSIONIZER_IDLE": "off",
        "ADER_HTTP_PORT": "0",
        "ADER_LOG_LEVEL": "error",
    }
    command = [sys.executable, "-m", "consumers.sessionizer"]
    with subprocess.Popen(command, env=os.environ | own) as worker:
        try:
            sender = threading.Thread(target=send, args=(settings, seconds))
            sender.start()
            found = sorted(latencies(settings, partitions, seconds))
            sender.join()
        finally:
            worker.terminate()
    at = {f"p{rank}_ms": found[len(found) * rank // 100] for rank in (50, 99)}
    return {"partitions": partitions, "rate": RATE, "sessions": len(found), **at}


def send(settings: Settings, seconds: float) -> None:
    """Send clicks at a steady rate; visitors come and go."""
    producer = settings.clients.producer(partitioner="murmur2_random")
    names, born, due = list(range(VISITORS)), VISITORS, 0.0
    started = time.monotonic()
    while (now := time.monotonic() - started) < WARM_UP_SECONDS + seconds:
        while due < now * RATE:
            who = int(random.random() * VISITORS)
            click = Click(f"visitor-{names[who]}", "item-7", int(time.time() * 1_000))
            producer.produce(settings.topics.clicks, click_bytes(click), click.key)
            if random.random() < 1 / SESSION_CLICKS:
                names[who], born = born, born + 1
            due += 1
        producer.poll(TICK_SECONDS)
    producer.flush(10)


def latencies(settings: Settings, partitions: int, seconds: float) -> Iterator[float]:
    """Yield ms from a session's last click and the gap to when a reader has the session."""
    reader, topic = settings.clients.reader(), settings.topics.sessions
    reader.assign([TopicPartition(topic, partition, 0) for partition in range(partitions)])
    started = time.monotonic()
    while (now := time.monotonic() - started) < WARM_UP_SECONDS + seconds:
        records = checked(reader.consume(100, 0.01))
        at = time.time() * 1_000
        for record in records if now > WARM_UP_SECONDS else ():
            type_name, value = decode(record.value(), record.headers())
            if type_name == "SessionBatch":
                yield from (at - s["times"][-1] - GAP_MS for s in value["sessions"])
    reader.close()
