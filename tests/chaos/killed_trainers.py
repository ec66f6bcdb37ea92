"""Kills leading trainers at random moments of publishing; standbys continue with the right block.

``python -m tests.chaos.killed_trainers HOST:PORT FOLDER 100 [SEED]`` does so a hundred times, on
topics of its own; the logs are in the folder.
"""

from __future__ import annotations

import random
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from ader_stream.ader.artifact.parts import encode_parts
from ader_stream.ader.cycle import train_cycle
from ader_stream.ader.recipes import overridden, recipe
from ader_stream.artifact import KINDS, content_digest
from ader_stream.stream.kafka.reading import offset_range
from ader_stream.stream.model_registry.manifest import Manifest
from ader_stream.stream.model_registry.model_reader import ModelReader
from tests.chaos.killed_publishers import held, named
from tests.integration.simulated import simulated_clicks
from tests.integration.system import SMALL, SettingsGroups, System, Worker

OVERRIDES = {**SMALL["trainer"]["overrides"], "hidden": 256, "max_epochs": 1}
SLOW_TO_PUBLISH: SettingsGroups = {"trainer": {"chunk_size": 1_000, "overrides": OVERRIDES}}
"""A version is some five hundred chunks, in eight transactions."""

CHUNKS = 500
LONGEST_LIFE = 1.3
"""Versions that a leader may come to send, at most, before it is killed."""


@dataclass(frozen=True)
class Outcome:
    """What was left: versions, each of its own block, and kills that came in the middle of one."""

    versions: int
    halves: int


def kill_many(bootstrap_servers: str, folder: Path, kills: int, seed: int = 0) -> Outcome:
    """Kill leaders one after another, and look at the log after each.

    Raises AssertionError where a version is not whole, a number or block is missing or stands
    twice, or anything is other than it would be had nobody been killed.
    """
    rng, seen, halves = random.Random(seed), list[Manifest](), 0
    with System(bootstrap_servers, folder, SLOW_TO_PUBLISH) as system:
        send_blocks(system, 2 * kills + 2)
        trainers = [system.start("trainer"), system.start("trainer")]
        for _ in range(kills):
            leader = leading(system, trainers)
            wait_for_chunks(system, rng.randint(1, int(LONGEST_LIFE * CHUNKS)))
            leader.kill()
            trainers = [*(w for w in trainers if w is not leader), system.start("trainer")]
            seen = look(system, seen)
            halves += bool(set(held(system.settings)) - named(seen))
        system.wait_until(lambda: len(system.view.manifests) > len(seen), "the next one continues")
        for trainer in trainers:
            end(trainer)
        seen = look(system, seen)
        assert [m.digest for m in seen] == untouched(system, len(seen)), "another version"
        return Outcome(len(seen), halves)


def send_blocks(system: System, count: int) -> None:
    """Let the sessionizer cut as many blocks."""
    blocks = simulated_clicks(system.settings.block_rule, blocks=count, walks=20)
    sessionizer = system.start("sessionizer")
    for block, clicks in enumerate(blocks):
        system.send(clicks)
        system.end_block(block)
    system.wait_until_sessions_have(sum(map(len, blocks)))
    end(sessionizer)


def leading(system: System, trainers: list[Worker]) -> Worker:
    """Wait until one of the trainers leads, and return it."""
    found: list[Worker] = []

    def leads() -> bool:
        found[:] = [trainer for trainer in trainers if trainer.metric("ader_trainer_leader")]
        return bool(found)

    system.wait_until(leads, "one leads")
    return found[0]


def end(worker: Worker) -> None:
    worker.terminate()
    assert worker.wait() == 0, worker.tail()


def wait_for_chunks(system: System, count: int) -> None:
    """Wait until so many records have come to model-chunks, committed or not."""
    begin = chunks_sent(system)
    system.wait_until(lambda: chunks_sent(system) >= begin + count, "chunks come")


def chunks_sent(system: System) -> int:
    return offset_range(system.clients, system.topics.model_chunks, 0)[1]


def look(system: System, before: list[Manifest]) -> list[Manifest]:
    """Read every version whole; what was there before must be there unchanged."""
    found = system.manifests()
    assert found[: len(before)] == before, "a version has changed"
    assert [m.version for m in found] == list(range(1, len(found) + 1)), "a hole or a twin"
    assert [m.blocks for m in found] == [(n,) for n in range(len(found))], "a wrong block"
    for one, other in pairwise(found):
        assert (other.parent, other.predecessor) == (one.version, one.version)
        assert offsets(other, "first_offset") == offsets(one, "next_offset"), "a wrong place"
    reader = ModelReader(system.clients, system.topics)
    assert all(reader.fetch(manifest, KINDS) for manifest in found[len(before) :])
    return found


def offsets(manifest: Manifest, which: str) -> dict[int, Any]:
    return {place.partition: getattr(place, which) for place in manifest.run.offsets}


def untouched(system: System, count: int) -> list[str]:
    """Digests of the versions that one trainer makes of the same blocks, without Kafka."""
    trainer = system.settings.trainer
    torch.set_num_threads(trainer.threads)
    chosen = overridden(recipe(trainer.recipe), trainer.overrides)
    rows = sorted(system.sessions(), key=lambda row: (row.last_time, row.first_time, row.key))
    state, digests = None, []
    for block in range(count):
        items = [row.items for row in rows if row.block == block]
        state = train_cycle(items, state, chosen, trainer.seed, lambda _: None).state
        digests.append(content_digest(encode_parts(state)))
    return digests


def main(bootstrap_servers: str, folder: str, kills: str, seed: str = "0") -> None:
    Path(folder).mkdir(parents=True, exist_ok=True)
    outcome = kill_many(bootstrap_servers, Path(folder), int(kills), int(seed))
    print(
        f"{kills} leading trainers killed (seed {seed}), {outcome.halves} of them in the middle of "
        f"a version: {outcome.versions} versions, each of the block that was its turn, and the "
        "same, byte for byte, as those of a trainer that nobody has killed"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
