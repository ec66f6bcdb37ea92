"""What `tests.benchmarks.sessionizer` measures, each in a process of its own: prints JSON.

``python -m tests.benchmarks.sessionizer_process WAY ADDRESS TOPIC PREFIX PARTITIONS WARM_UP``
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path

from confluent_kafka import TopicPartition
from prometheus_client import CollectorRegistry

from ader_stream.metrics import CLICKS, Metrics
from ader_stream.runtime.memory.garbage import GarbageSchedule
from ader_stream.settings import Settings
from ader_stream.stream.avro.codec import Headers, headers_for
from ader_stream.stream.clicks.decoder import ClickDecoder
from ader_stream.stream.control.erasures import Erasures
from ader_stream.stream.exactly_once.loop import ExactlyOnceLoop, LoopConfig
from ader_stream.stream.exactly_once.takeover import LINGER_MS, MOST_RECORDS, OpenTasks
from ader_stream.stream.groups.groups import Committed, Extent
from ader_stream.stream.kafka.clients import READ_MESSAGES
from ader_stream.stream.kafka.producing import Transaction
from ader_stream.stream.kafka.reading import REQUEST_TIMEOUT, offset_range, valid_records
from ader_stream.stream.kafka.records import Record
from ader_stream.stream.sessions.task import (
    SessionizerRules,
    SessionizerTask,
    SessionizerTasks,
)
from ader_stream.stream.topics.topics import create_topics
from tests.benchmarks.session_clicks import settings_of

Result = dict[str, float]
Ends = dict[int, int]

PAGE_BYTES = 4_096

COMMIT_CLICKS = 100_000
HEADERS = headers_for("OpenSessions")


def consume(settings: Settings, ends: Ends, warm_up: int) -> Result:
    """Read the topic to its end, and nothing else."""
    reader = settings.clients.group_consumer(settings.topics.group("bare"))
    reader.assign([TopicPartition(settings.topics.clicks, p, 0) for p in ends])
    left, started = sum(ends.values()), time.process_time()
    while left:
        left -= sum(message.error() is None for message in reader.consume(READ_MESSAGES, 0.1))
    return {"clicks_per_cpu_second": sum(ends.values()) / (time.process_time() - started)}


def write(settings: Settings, ends: Ends, warm_up: int) -> Result:
    """Read the topic, and write a record for each click as the changelog has them, in transactions.

    The least that a sessionizer can cost where each click of a commit touches another session.
    """
    create_topics(settings.clients.admin(), settings.topics, len(ends))
    reader = settings.clients.group_consumer(settings.topics.group("bare"))
    reader.assign([TopicPartition(settings.topics.clicks, p, 0) for p in ends])
    producer = settings.clients.producer(
        settings.topics.group("bare"),
        linger_ms=LINGER_MS,
        queue_buffering_max_messages=MOST_RECORDS,
    )
    producer.init_transactions(REQUEST_TIMEOUT)
    left, started = sum(ends.values()), time.process_time()
    while left:
        transaction, most = Transaction(), max(0, left - COMMIT_CLICKS)
        while left > most:
            records = valid_records(reader.consume(READ_MESSAGES, 0.1))
            transaction.extend(settings.topics.sessionizer_state, map(changed, records), 0)
            left -= len(records)
        producer.begin_transaction()
        transaction.send(producer)
        producer.commit_transaction(REQUEST_TIMEOUT)
    return {"clicks_per_cpu_second": sum(ends.values()) / (time.process_time() - started)}


def changed(record: Record) -> tuple[bytes | None, bytes, Headers]:
    """A record of some two clicks."""
    return record.key(), 2 * (record.value() or b""), HEADERS


def sessionize(settings: Settings, ends: Ends, warm_up: int) -> Result:
    """Run the sessionizer to the topic's end; the cost is taken from `warm_up` clicks on."""
    create_topics(settings.clients.admin(), settings.topics, len(ends))
    GarbageSchedule()
    decoder, metrics = ClickDecoder(settings.click_format), Metrics(CollectorRegistry())
    kept: list[SessionizerTask] = []  # the end of a task that leaves is no part of a click
    open_tasks = keeping(kept, tasks(settings, decoder, metrics))
    loop = ExactlyOnceLoop(
        settings.clients,
        LoopConfig(settings.topics.clicks, settings.topics.group("sessionizer")),
        open_tasks,
        metrics,
        decoder.check_readable,
    )
    warm: list[tuple[int, float]] = []

    def total(metric: str) -> int:
        return int(sum(metrics[metric].labels(partition=p)._value.get() for p in ends))

    def has_read_all() -> bool:
        read = total(CLICKS)
        if not warm and read >= warm_up:
            warm.append((read, time.process_time()))
        return read == sum(ends.values())

    loop.run(has_read_all, lambda: None)
    [(read, started)] = warm
    rate = (total(CLICKS) - read) / (time.process_time() - started)
    open_sessions = sum(task._window.open_count for task in kept)
    return {"clicks_per_cpu_second": rate, "open_sessions": open_sessions}


def restore(settings: Settings, ends: Ends, warm_up: int) -> Result:
    """Take the partitions over from the changelog."""
    GarbageSchedule()
    decoder, metrics = ClickDecoder(settings.click_format), Metrics(CollectorRegistry())
    open_tasks = tasks(settings, decoder, metrics)
    memory, wall, cpu = resident(), time.monotonic(), time.process_time()
    kept = open_tasks([*ends])
    for partition, task in kept.items():
        task.restore(task.place(None, Extent(0, ends[partition])) or Committed(0), 0)
    wall, cpu = time.monotonic() - wall, time.process_time() - cpu
    open_sessions = sum(task._window.open_count for task in kept.values())
    gc.collect()
    return {
        "open_sessions": open_sessions,
        "restore_seconds": wall,
        "restore_cpu_seconds": cpu,
        "bytes_an_open_session": (resident() - memory) / open_sessions,
    }


def keeping(kept: list[SessionizerTask], open_tasks: SessionizerTasks) -> OpenTasks:
    """Return the same, but that each task is kept."""

    def opened(partitions: Collection[int], stay: Callable[[], None]) -> dict[int, SessionizerTask]:
        tasks = open_tasks(partitions, stay)
        kept.extend(tasks.values())
        return tasks

    return opened


def tasks(settings: Settings, decoder: ClickDecoder, metrics: Metrics) -> SessionizerTasks:
    rules = SessionizerRules(settings.block_rule, settings.session_rule, settings.intake_rule)
    clients, topics = settings.clients, settings.topics
    return SessionizerTasks(clients, topics, decoder, rules, metrics, Erasures())


def resident() -> int:
    """Bytes of memory that this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES


WAYS = {"consume": consume, "write": write, "sessionize": sessionize, "restore": restore}


def main() -> None:
    way, address, topic, prefix, partitions, warm_up = sys.argv[1:]
    settings = settings_of(address, topic, prefix)
    ends = {p: offset_range(settings.clients, topic, p)[1] for p in range(int(partitions))}
    print(json.dumps(WAYS[way](settings, ends, int(warm_up))))


if __name__ == "__main__":
    main()
