"""Millions of clicks through one sessionizer: neither memory nor a click's cost may grow.

    python -m tests.benchmarks.long_run [--clicks 50000000] [--out FILE] [--plot FILE]

starts a Kafka of its own and feeds it as fast as the sessionizer reads: the clicks topic holds the
few that are not read yet, older ones are deleted. Every few seconds it writes down what the process
has done, its CPU time (every thread, librdkafka's too) and its memory. In the end every click must
be in a block that has ended.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from confluent_kafka import TopicPartition
from platformdirs import user_cache_path

from ader_stream import metrics as m
from ader_stream.local_kafka import Guard
from ader_stream.runtime.machine import describe_machine
from ader_stream.stream.avro.codec import decode_as, type_of
from ader_stream.stream.kafka.reading import read_to_end
from ader_stream.testing.brokers import from_java
from ader_stream.testing.processes import start_as_user
from tests.benchmarks.long_run_plot import plot
from tests.benchmarks.resident import cpu_seconds, resident_mib
from tests.benchmarks.session_clicks import click_bytes, clicks_of
from tests.integration.system import System, Worker

RESULT = Path(__file__).parent / "results" / "speed" / "long_run.json"
PICTURE = Path(__file__).parents[2] / "docs" / "images" / "long_run.svg"

PARTITIONS = 4
VISITORS = 20_000
"""At a time. A session stays open for half an hour after its last click: some 40,000 of them."""

SETTINGS = {"blocks": {"length": "2h"}, "clicks": {"format": "avro"}}
"""Two hours of event time are 480,000 clicks: 50 million end some 100 blocks."""

MOST_AHEAD = 300_000
"""Clicks that are sent and not yet read: enough for the sessionizer never to wait."""

MOST_QUEUED = 50_000
"""Clicks in the producer."""

SAMPLE_SECONDS = 10.0
DELETE_SECONDS = 30.0
END_SECONDS = 600.0


@dataclass(frozen=True)
class Sample:
    """Where the sessionizer stands.

    Parameters
    ----------
    seconds
        Since the first click was sent.
    clicks, sessions, block_ends
        Read, closed and written so far; block ends are each partition's.
    """

    seconds: float
    clicks: int
    cpu_seconds: float
    resident_mib: float
    open_sessions: int
    sessions: int
    block_ends: int


class Watch(threading.Thread):
    """Takes samples of a worker."""

    def __init__(self, worker: Worker) -> None:
        super().__init__(daemon=True)
        self.worker = worker
        self._began_at = time.monotonic()
        self._is_done = threading.Event()
        self.samples: list[Sample] = []
        self.clicks = 0
        self.start()

    def run(self) -> None:
        next_at = self._began_at
        while not self._is_done.wait(0.5):
            self.clicks = int(self.worker.metric(m.CLICKS.name))
            if time.monotonic() >= next_at:
                next_at += SAMPLE_SECONDS
                self.samples.append(self._sample())
                print(self.samples[-1], flush=True)

    def stop(self) -> None:
        self._is_done.set()
        self.join()
        self.samples.append(self._sample())

    def _sample(self) -> Sample:
        pid = self.worker.process.pid
        return Sample(
            seconds=round(time.monotonic() - self._began_at, 1),
            clicks=int(self.worker.metric(m.CLICKS.name)),
            cpu_seconds=round(cpu_seconds(pid), 2),
            resident_mib=round(resident_mib(pid), 1),
            open_sessions=int(self.worker.metric(m.OPEN_SESSIONS.name)),
            sessions=int(self.worker.metric(m.SESSIONS.name)),
            block_ends=int(self.worker.metric(m.BLOCKS.name)),
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clicks", type=int, default=50_000_000)
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--plot", type=Path, default=PICTURE)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Guard() as guard:
        data = Path(folder)
        with (
            from_java(data / "kafka", user_cache_path("ader-stream"), guard) as kafka,
            System(kafka.bootstrap_servers, data, SETTINGS, PARTITIONS, start_as_user) as system,
        ):
            result = run(system, chosen.clicks)
    lines = ",\n  ".join(json.dumps(asdict(sample)) for sample in result.pop("samples"))
    head = json.dumps(result, indent=1).removesuffix("\n}")
    chosen.out.write_text(f'{head},\n "samples": [\n  {lines}\n ]\n}}\n')
    print(head)
    plot(json.loads(chosen.out.read_text()), chosen.plot)
    sys.exit(result["clicks_in_blocks"] != chosen.clicks)


def run(system: System, clicks: int) -> dict[str, Any]:
    """Feed one worker, end all blocks, and count what they hold."""
    worker = system.start("sessionizer")
    system.wait_until_holding(worker)
    watch = Watch(worker)
    last_time = feed(system, watch, clicks)
    wait_until(lambda: watch.clicks == clicks)
    watch.stop()
    system.end_block(system.settings.block_rule.block_of(last_time))
    wait_until(lambda: worker.metric(m.OPEN_SESSIONS.name) == 0)
    worker.terminate()  # it commits first
    worker.wait()
    return {
        "machine": describe_machine(1),
        "clicks": clicks,
        "clicks_in_blocks": clicks_in_blocks(system),
        "partitions": system.partitions,
        "visitors": VISITORS,
        "samples": watch.samples,
    }


def feed(system: System, watch: Watch, clicks: int) -> int:
    """Send clicks in step with the worker, delete what it has done; return the last one's time."""
    producer = system.clients.producer(partitioner="murmur2_random", linger_ms=50)
    topic, delete_at = system.topics.clicks, time.monotonic() + DELETE_SECONDS
    for number, click in enumerate(clicks_of(VISITORS, clicks)):
        producer.produce(topic, click_bytes(click), click.key)
        if number % 1_000 == 0:
            while number - watch.clicks > MOST_AHEAD or len(producer) > MOST_QUEUED:
                producer.poll(0.05)
                assert not watch.worker.has_died(), watch.worker.tail()
            producer.poll(0)
            if time.monotonic() > delete_at:
                delete_at += DELETE_SECONDS
                delete_committed(system)
    producer.flush(END_SECONDS)
    return click.time


def delete_committed(system: System) -> None:
    """Delete the clicks from which the worker would not read again."""
    topic, committed = system.topics.clicks, system.committed_offsets("sessionizer")
    places = [TopicPartition(topic, partition, at) for partition, at in committed.items()]
    admin = system.clients.admin()  # it must outlive its answers
    for future in admin.delete_records(places).values():
        future.result(END_SECONDS)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + END_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"the worker has not come to its end in {END_SECONDS:g} s")
        time.sleep(0.5)


def clicks_in_blocks(system: System) -> int:
    """Clicks that the ends of the blocks have counted, as a reader of committed records has it."""
    return sum(
        decode_as("BlockEnd", record.value() or b"")["clicks"]
        for partition in range(system.partitions)
        for record in read_to_end(system.clients, system.topics.sessions, partition)
        if type_of(record.headers()) == "BlockEnd"
    )


if __name__ == "__main__":
    main()
