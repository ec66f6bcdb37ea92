"""Kills publishers at random moments; no reader may ever meet a part of a version.

``python -m tests.chaos.killed_publishers HOST:PORT 100`` does so a hundred times, on topics of its
own. ``python -m tests.chaos.killed_publishers HOST:PORT publish PREFIX`` is what is killed.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass

from ader_stream.settings import Settings, load_settings
from ader_stream.stream.kafka.changelog import read_to_end
from ader_stream.stream.kafka.topics import create_topics
from ader_stream.stream.models.manifest import KINDS, Manifest, decode_manifest
from ader_stream.stream.models.model_log import ModelPublisher
from ader_stream.stream.models.model_reader import ModelReader
from ader_stream.stream.models.registry import read_registry
from tests.fakes import example_manifest

CHUNK_SIZE = 1_000
PART_BYTES = 100_000
"""A hundred chunks a part: publishing takes several transactions and most of the time."""

LONGEST_LIFE = 1.0
"""Seconds that a publisher lives at most, from its first version on."""


@dataclass(frozen=True)
class Outcome:
    """What was left in the end: versions, and orphaned chunks of publishers that were killed."""

    versions: int
    orphans: int


def kill_many(bootstrap_servers: str, kills: int, seed: int = 0) -> Outcome:
    """Kill publishers one after another, and look at the log after each as a reader would.

    Raises AssertionError where a version is not whole, a number is missing, or stands twice.
    """
    rng = random.Random(seed)
    settings = settings_of(bootstrap_servers, f"killed-{uuid.uuid4().hex[:8]}")
    create_topics(settings.clients.admin(), settings.topics, 1)
    seen: list[Manifest] = []
    for _ in range(kills):
        with start(bootstrap_servers, settings.kafka.prefix) as publisher:
            wait_for_line(publisher)
            time.sleep(rng.uniform(0, LONGEST_LIFE))
            publisher.kill()
        seen = look(settings, seen)
    with start(bootstrap_servers, settings.kafka.prefix) as last:
        wait_for_line(last)
        last.kill()
    versions = look(settings, seen)
    chunks = list(read_to_end(settings.clients, settings.topics.model_chunks))
    named = sum(len(part["chunks"]) for manifest in versions for part in manifest["parts"])
    return Outcome(len(versions), len(chunks) - named)


def look(settings: Settings, before: list[Manifest]) -> list[Manifest]:
    """Read every version whole; what was there before must be there unchanged."""
    reader = ModelReader(settings.clients, settings.topics, settings.trust)
    records = read_to_end(settings.clients, settings.topics.models)
    found = [decode_manifest(record, settings.trust) for record in records]
    assert [m["version"] for m in found] == list(range(1, len(found) + 1)), "a hole or a twin"
    assert [m["blocks"] for m in found] == [[n] for n in range(len(found))], "a wrong block"
    assert found[: len(before)] == before, "a version has changed"
    for manifest in found[len(before) :]:
        assert reader.fetch(manifest, KINDS) == parts_of(manifest["version"]), "not whole"
    return found


def publish_for_good(bootstrap_servers: str, prefix: str) -> None:
    """Go on from the newest version, as a trainer does, and say each number once committed."""
    settings = settings_of(bootstrap_servers, prefix)
    publisher = ModelPublisher(settings.clients, settings.topics, CHUNK_SIZE)
    newest = read_registry(settings.clients, settings.topics, settings.trust).newest
    version = newest["version"] if newest else 0
    while True:
        version += 1
        publisher.publish(example_manifest(version), parts_of(version))
        print(version, flush=True)


def parts_of(version: int) -> dict[str, bytes]:
    """What a version's parts are, told by its number alone."""
    return {kind: random.Random(f"{version}/{kind}").randbytes(PART_BYTES) for kind in KINDS}


def settings_of(bootstrap_servers: str, prefix: str) -> Settings:
    return load_settings(kafka={"bootstrap_servers": bootstrap_servers, "prefix": prefix})


def start(bootstrap_servers: str, prefix: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.chaos.killed_publishers", bootstrap_servers]
    return subprocess.Popen(
        [*command, "publish", prefix], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


def wait_for_line(publisher: subprocess.Popen[str]) -> None:
    """Wait until a version is committed: the next one is under way."""
    assert publisher.stdout
    assert publisher.stdout.readline(), f"the publisher has ended: {publisher.poll()}"


def main(bootstrap_servers: str, *rest: str) -> None:
    """Be what is killed, or kill."""
    if rest[0] == "publish":
        publish_for_good(bootstrap_servers, rest[1])
    outcome = kill_many(bootstrap_servers, int(rest[0]))
    print(
        f"{rest[0]} publishers killed: {outcome.versions} versions, each of them whole, without a "
        f"hole or a twin; {outcome.orphans} chunks of versions that never came to be"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
