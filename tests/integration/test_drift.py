"""``ader-stream drift`` from the topics: sessions, versions and scores that are written here."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pytest
from click.testing import CliRunner, Result
from confluent_kafka import Producer

from ader_stream.cli.main import cli
from ader_stream.stream.avro.codec import encode
from ader_stream.stream.model_registry.model_log import ModelPublisher
from ader_stream.stream.scores.score_log import Score, ScoreKey, encode_score
from ader_stream.types import RECIPROCAL_UNIT, Counts
from tests.integration.artifacts import ITEMS, manifest_of, tiny_parts
from tests.integration.system import PARTITIONS, Kafka, System

BLOCKS = 6
VISITS = 300
"""Sessions of a block on a partition."""

FAULTY = BLOCKS - 1
"""The block in which half of the clicks are on items that are new."""


@pytest.fixture(scope="module")
def filled(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(kafka.bootstrap_servers, tmp_path_factory.mktemp("drift")) as system:
        producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
        for partition in range(PARTITIONS):
            for block in range(BLOCKS):
                fill(producer, system, partition, block)
        # The next block has begun, and has not ended.
        write(producer, system.topics.sessions, 0, *encode("SessionBatch", batch(0, BLOCKS)))
        producer.flush()
        parts = tiny_parts()
        publisher = ModelPublisher(system.clients, system.topics, 100_000)
        for version in range(1, BLOCKS + 1):
            publisher.publish(manifest_of(version, parts), parts)
        yield system


def fill(producer: Producer, system: System, partition: int, block: int) -> None:
    sessions, scores = system.topics.sessions, system.topics.scores
    write(producer, sessions, partition, *encode("SessionBatch", batch(partition, block)))
    end = {"partition": partition, "block": block, "clicks": 0, "sessions": VISITS, "late": 0}
    write(producer, sessions, partition, *encode("BlockEnd", end))
    if block:
        recall = 5 if block == FAULTY else 40
        counts = Counts(100, recall, recall, recall * RECIPROCAL_UNIT // 2, recall)
        key, *record = encode_score(ScoreKey(block, block, partition), Score(200, counts))
        write(producer, scores, 0, *record, key=key)


def batch(partition: int, block: int) -> dict[str, object]:
    rng = np.random.default_rng([partition, block])
    return {
        "partition": partition,
        "block": block,
        "sessions": [session(rng, block, number) for number in range(VISITS)],
        "erased_to": 0,
    }


def session(rng: np.random.Generator, block: int, number: int) -> dict[str, object]:
    items = rng.choice(ITEMS, rng.integers(1, 6)).tolist()
    if block == FAULTY and number % 2:
        items = [f"{item}-new" for item in items]
    times = np.cumsum(rng.integers(1_000, 60_000, len(items))).tolist()
    return {"key": f"visit-{number}", "times": times, "items": items, "carried": [], "extra": []}


def write(
    producer: Producer,
    topic: str,
    partition: int,
    value: bytes,
    headers: object,
    key: str | None = None,
) -> None:
    producer.produce(topic, value, key, partition, headers=headers)


def drift(system: System, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["drift", "--json", *arguments], env=system.environment({}))


def test_last_complete_block_is_judged_by_the_version_before_it(filled: System) -> None:
    done = drift(filled)
    found = json.loads(done.output)
    signals = {signal["name"]: signal for signal in found["signals"]}
    assert (found["block"], found["against"]) == (FAULTY, f"against block {FAULTY - 1}, version 5")
    assert found["sessions"] == VISITS * PARTITIONS
    assert signals["unknown_items"]["value"] == pytest.approx(0.5, abs=0.05)
    assert signals["unknown_items"]["state"] == "act"
    assert 0 < signals["exemplar_coverage"]["value"] <= 0.55
    assert signals["recall20"]["value"] == 0.05
    assert (signals["recall20"]["state"], signals["recall20"]["cause"]) == ("act", "data")
    assert done.exit_code == 3


def test_an_earlier_block_is_as_usual(filled: System) -> None:
    done = drift(filled, "--block", str(FAULTY - 1))
    found = json.loads(done.output)
    assert found["state"] in ("fine", "insufficient data"), found
    assert done.exit_code == 0


def test_two_blocks_of_the_topics_are_compared(filled: System) -> None:
    found = json.loads(drift(filled, "--block", "3", "--against", "1").output)
    assert (found["block"], found["against"]) == (3, "against block 1")


def test_a_block_that_has_not_ended_is_none(filled: System) -> None:
    done = drift(filled, "--block", str(BLOCKS))
    assert f"there is no block {BLOCKS} to compare; there are: 0 to {FAULTY}" in str(done.exception)
