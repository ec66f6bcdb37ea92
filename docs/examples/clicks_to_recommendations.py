"""Write the clicks of a session to your own topic, and read what to recommend next.

A program of yours does the same. It needs confluent-kafka and fastavro, and of ader-stream only the
schema file of a recommendation.
"""

from __future__ import annotations

import argparse
import io
import json
import time
import uuid
from pathlib import Path
from typing import Any

import fastavro
from confluent_kafka import Consumer, Producer

SCHEMA = Path(__file__).parents[2] / "schemas" / "Recommendation.avsc"
TIMEOUT_SECONDS = 60.0
POLL_SECONDS = 0.5


def main() -> None:
    """Send one click after the other, and print what is recommended after the last one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("items", nargs="+", metavar="ITEM", help="item ids, in order of clicks")
    parser.add_argument("--bootstrap-servers", default="localhost:9092")
    parser.add_argument("--clicks", default="ader.clicks", help="your topic")
    parser.add_argument("--recommendations", default="ader.recommendations", help="ours")
    arguments = parser.parse_args()

    session = f"example-{uuid.uuid4().hex[:8]}"
    last_time = send_clicks(arguments.bootstrap_servers, arguments.clicks, session, arguments.items)
    found = read_recommendation(
        arguments.bootstrap_servers, arguments.recommendations, session, last_time
    )
    print(f"session {session}, version {found['version']}:")
    for ranked in found["items"]:
        print(f"{ranked['score']:8.3f}  {ranked['item']}")


def send_clicks(servers: str, topic: str, session: str, items: list[str]) -> int:
    """Write a click for each item, and return the event time of the last one, in ms."""
    # The key decides the partition: all clicks of a session must be on one, in their order.
    producer = Producer({"bootstrap.servers": servers, "partitioner": "murmur2_random"})
    now = int(time.time() * 1000)
    times = range(now - len(items) + 1, now + 1)
    for item, at in zip(items, times, strict=True):
        click = {"session": session, "item": item, "time": at}
        producer.produce(topic, json.dumps(click).encode(), key=session)
    if producer.flush(TIMEOUT_SECONDS):
        raise SystemExit(f"{servers} did not acknowledge the clicks; check the address")
    return times[-1]


def read_recommendation(servers: str, topic: str, session: str, time_of_last: int) -> Any:
    """Wait for the recommendation that follows the session's last click."""
    schema = fastavro.parse_schema(json.loads(SCHEMA.read_text(encoding="utf-8")))
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": session,  # a group of its own, which commits nothing
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",  # what was aborted was never recommended
        }
    )
    consumer.subscribe([topic])
    deadline = time.monotonic() + TIMEOUT_SECONDS
    try:
        while time.monotonic() < deadline:
            record = consumer.poll(POLL_SECONDS)
            if record is None or record.error() or record.key() != session.encode():
                continue
            value = record.value()
            if value is None:  # a tombstone: the session has ended, or its key was erased
                continue
            found: Any = fastavro.schemaless_reader(io.BytesIO(value), schema, None)
            if found["time"] >= time_of_last:
                return found
    finally:
        consumer.close()
    raise SystemExit(
        f"{topic} has no recommendation for {session} after {TIMEOUT_SECONDS:g} s; does inference "
        "run with ADER_INFERENCE_RECOMMENDATIONS=true? `ader-stream doctor` checks the clicks"
    )


if __name__ == "__main__":
    main()
