"""How fast a version is published, beside a producer that only sends the same bytes.

    python -m tests.benchmarks.publishing HOST:PORT [--items 43136] [--rounds 7] [--out FILE]

Publisher, bare transactional producer and reader take turns, with each compression in each round;
what is told is medians. ``--items 1600000`` is a model of 1 GB.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version as installed
from pathlib import Path
from statistics import median

from confluent_kafka import Producer

from ader_stream.ader.artifact.parts import encode_parts
from ader_stream.runtime.machine import describe_machine
from ader_stream.stream.kafka.producing import produce
from ader_stream.stream.model_registry.manifest import Manifest
from ader_stream.stream.model_registry.model_log import (
    CHUNKS_A_TRANSACTION,
    QUEUED_CHUNKS,
    ModelPublisher,
)
from ader_stream.stream.model_registry.model_reader import ModelReader
from ader_stream.testing.processes import start_as_user
from tests.benchmarks.publish_to_live import random_state
from tests.benchmarks.resident import peak_mib, reset_peak, resident_mib
from tests.fakes import example_manifest
from tests.integration.system import System

CHUNK_SIZE = 900_000
COMPRESSIONS = ("none", "lz4", "zstd")
MB = 1_000_000


class Turn:
    """One compression: a publisher, a reader and a bare producer."""

    def __init__(self, system: System, compression: str, parts: Mapping[str, bytes]) -> None:
        self.compression = compression
        self.seconds: dict[str, list[float]] = {"publish": [], "bare": [], "fetch": []}
        self.cpu_seconds: list[float] = []
        self.memory_mib = 0.0
        self._system = system
        self._parts = parts
        self._bare: Producer = system.clients.producer(
            f"bare-{compression}", compression_type=compression, linger_ms=0
        )
        self._bare.init_transactions()

    def take(self, version: int) -> None:
        """Publish a version, send its bytes once more, and read its weights back."""
        system = self._system
        publisher = ModelPublisher(
            system.clients, system.topics, CHUNK_SIZE, compression=self.compression
        )
        manifest = example_manifest(version)
        before, cpu = resident_mib(), time.process_time()
        reset_peak()
        published = self._timed("publish", lambda: publisher.publish(manifest, self._parts))
        self.cpu_seconds.append(time.process_time() - cpu)
        self.memory_mib = max(self.memory_mib, peak_mib() - before)
        self._timed("bare", self._send)
        reader = ModelReader(system.clients, system.topics)
        self._timed("fetch", lambda: reader.fetch(published, ("weights",)))

    def reported(self) -> dict[str, float]:
        """Medians: MB a second."""
        size, weights = sum(map(len, self._parts.values())) / MB, len(self._parts["weights"]) / MB
        publish, bare, fetch = (median(self.seconds[n]) for n in ("publish", "bare", "fetch"))
        return {
            "publish_mb_per_second": round(size / publish),
            "publish_mb_per_cpu_second": round(size / median(self.cpu_seconds)),
            "bare_mb_per_second": round(size / bare),
            "share_of_bare": round(bare / publish, 2),
            "fetch_mb_per_second": round(weights / fetch),
            "publisher_memory_mib": round(self.memory_mib),
        }

    def _send(self) -> None:
        chunks = [
            part[start : start + CHUNK_SIZE]
            for part in self._parts.values()
            for start in range(0, len(part), CHUNK_SIZE)
        ]
        for first in range(0, len(chunks), CHUNKS_A_TRANSACTION):
            self._bare.begin_transaction()
            for chunk in chunks[first : first + CHUNKS_A_TRANSACTION]:
                produce(self._bare, self._system.topics.watermarks, "bare", chunk)
            self._bare.commit_transaction()

    def _timed(self, name: str, work: Callable[[], Manifest | object]) -> Manifest:
        began = time.perf_counter()
        result = work()
        self.seconds[name].append(time.perf_counter() - began)
        return result  # type: ignore[return-value]


def main() -> None:
    """Print what was measured, and write it down."""
    parser = argparse.ArgumentParser()
    parser.add_argument("bootstrap_servers")
    parser.add_argument("--items", type=int, default=43_136)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--compressions", nargs="+", default=COMPRESSIONS)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    parts = encode_parts(random_state(given.items))
    with (
        tempfile.TemporaryDirectory() as folder,
        System(given.bootstrap_servers, Path(folder), launch=start_as_user) as system,
    ):
        turns = [Turn(system, compression, parts) for compression in given.compressions]
        for number in range(given.rounds * len(turns)):
            turns[number % len(turns)].take(number + 1)
    measured = {
        "machine": describe_machine(1),
        "confluent-kafka": installed("confluent-kafka"),
        "items": given.items,
        "megabytes": round(sum(map(len, parts.values())) / MB),
        "chunk_size": CHUNK_SIZE,
        "queued_chunks": QUEUED_CHUNKS,
        "rounds": given.rounds,
        "compressions": {turn.compression: turn.reported() for turn in turns},
    }
    print(json.dumps(measured, indent=1))
    if given.out:
        given.out.write_text(json.dumps(measured, indent=1) + "\n")


if __name__ == "__main__":
    main()
