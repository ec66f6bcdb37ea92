"""Kills publishers at random moments; no reader may ever meet a part of a version.

``python -m tests.chaos.killed_publishers HOST:PORT 100 [SEED]`` does so a hundred times, on topics
of its own; ``… HOST:PORT publish PREFIX BYTES`` is what is killed.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass

from ader_stream.artifact import KINDS
from ader_stream.settings import Settings, load_settings
from ader_stream.stream.kafka.reading import read_to_end
from ader_stream.stream.model_registry.manifest import Manifest
from ader_stream.stream.model_registry.manifest_record import decode_manifest
from ader_stream.stream.model_registry.model_log import ModelPublisher
from ader_stream.stream.model_registry.model_reader import ModelReader
from ader_stream.stream.model_registry.pruning import Pruner
from ader_stream.stream.model_registry.registry import read_registry
from ader_stream.stream.topics.topics import create_topics
from tests.fakes import example_manifest

PART_BYTES = 100_000
CHUNK_SIZES = (1_000, 1_600, 700)
"""A hundred chunks a part, or so: publishing takes several transactions and most of the time."""

LONGEST_LIFE = 1.0
"""Seconds that a publisher lives at most, from its first version on."""


@dataclass(frozen=True)
class Outcome:
    """What was left in the end: versions, and chunks of publishers that were killed.

    Parameters
    ----------
    versions
        Each of them whole.
    orphans
        Keys of chunks that no version names, found by who came after a kill, and deleted.
    """

    versions: int
    orphans: int


def kill_many(bootstrap_servers: str, kills: int, seed: int = 0) -> Outcome:
    """Kill publishers one after another, and look at the log after each as a reader would.

    Each publisher cuts versions into chunks of another size. Raises AssertionError where a version
    is not whole, a number is missing or stands twice, or a chunk is left that no version names.
    """
    rng = random.Random(seed)
    settings = settings_of(bootstrap_servers, f"killed-{uuid.uuid4().hex[:8]}")
    create_topics(settings.clients.admin(), settings.topics, 1)
    seen: list[Manifest] = []
    orphans = 0
    for life in [rng.uniform(0, LONGEST_LIFE) for _ in range(kills)] + [0.0]:
        with start(bootstrap_servers, settings.kafka.prefix, rng.choice(CHUNK_SIZES)) as publisher:
            wait_for_line(publisher)
            time.sleep(life)
            publisher.kill()
        seen = look(settings, seen)
        orphans += len(set(held(settings)) - named(seen))
    lead(settings, CHUNK_SIZES[0])
    assert set(held(settings)) == named(seen), "a chunk that no version names"
    return Outcome(len(look(settings, seen)), orphans)


def held(settings: Settings) -> list[str]:
    """Keys of the chunks that compaction leaves."""
    records = read_to_end(settings.clients, settings.topics.model_chunks)
    last = {(r.key() or b"").decode(): r.value() is not None for r in records}
    return [key for key, is_there in last.items() if is_there]


def named(manifests: list[Manifest]) -> set[str]:
    """Keys of the chunks that versions name."""
    return {key for manifest in manifests for key in manifest.chunk_keys()}


def look(settings: Settings, before: list[Manifest]) -> list[Manifest]:
    """Read every version whole; what was there before must be there unchanged."""
    reader = ModelReader(settings.clients, settings.topics, settings.trust)
    records = read_to_end(settings.clients, settings.topics.models)
    found = [decode_manifest(record, settings.trust) for record in records]
    assert [m.version for m in found] == list(range(1, len(found) + 1)), "a hole or a twin"
    assert [m.blocks for m in found] == [(n,) for n in range(len(found))], "a wrong block"
    assert found[: len(before)] == before, "a version has changed"
    for manifest in found[len(before) :]:
        assert reader.fetch(manifest, KINDS) == parts_of(manifest.version), "not whole"
    return found


def lead(settings: Settings, chunk_size: int) -> tuple[ModelPublisher, int]:
    """Begin as a leading trainer does; return what publishes, and the newest version's number."""
    publisher = ModelPublisher(settings.clients, settings.topics, chunk_size)
    registry = read_registry(settings.clients, settings.topics, settings.trust)
    Pruner(settings.clients, settings.topics, registry, publisher).delete_orphans()
    return publisher, registry.newest.version if registry.newest else 0


def publish_for_good(bootstrap_servers: str, prefix: str, chunk_size: int) -> None:
    """Go on from the newest version, as a trainer does, and say each number once committed."""
    publisher, version = lead(settings_of(bootstrap_servers, prefix), chunk_size)
    while True:
        version += 1
        publisher.publish(example_manifest(version), parts_of(version))
        print(version, flush=True)


def parts_of(version: int) -> dict[str, bytes]:
    """What a version's parts are, told by its number alone."""
    return {kind: random.Random(f"{version}/{kind}").randbytes(PART_BYTES) for kind in KINDS}


def settings_of(bootstrap_servers: str, prefix: str) -> Settings:
    return load_settings(kafka={"bootstrap_servers": bootstrap_servers, "prefix": prefix})


def start(bootstrap_servers: str, prefix: str, chunk_size: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.chaos.killed_publishers", bootstrap_servers]
    return subprocess.Popen(
        [*command, "publish", prefix, str(chunk_size)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def wait_for_line(publisher: subprocess.Popen[str]) -> None:
    """Wait until a version is committed: the next one is under way. Logs stand there, too."""
    assert publisher.stdout
    lines = iter(publisher.stdout.readline, "")
    assert any(line.strip().isdecimal() for line in lines), f"it has ended: {publisher.poll()}"


def main(bootstrap_servers: str, *rest: str) -> None:
    """Be what is killed, or kill."""
    if rest[0] == "publish":
        publish_for_good(bootstrap_servers, rest[1], int(rest[2]))
    seed = int(rest[1]) if len(rest) > 1 else 0
    outcome = kill_many(bootstrap_servers, int(rest[0]), seed)
    print(
        f"{rest[0]} publishers killed (seed {seed}): {outcome.versions} versions, each of them "
        f"whole, without a hole or a twin; {outcome.orphans} chunks that no version names were "
        "left, and deleted"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
