"""One run of the whole system, made once for all tests that look at what it leaves."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ader_stream.stream.model_registry.manifest import Manifest
from ader_stream.testing.processes import start_as_user
from ader_stream.types import Click
from tests.integration.simulated import simulated_clicks
from tests.integration.system import Outcome, RawRecord, System

JOINED_IN = 2
"""The block in which a second inference worker joins."""


@dataclass(frozen=True)
class WholeRun:
    """A run that has ended: its clicks by block, what it left, and its topics."""

    blocks: list[list[Click]]
    outcome: Outcome
    system: System

    @property
    def clicks(self) -> list[Click]:
        """All of them."""
        return [click for block in self.blocks for click in block]


@functools.cache
def whole_run(bootstrap_servers: str, folder: Path) -> WholeRun:
    """Run all workers, block after block; nobody dies, and a second inference worker joins.

    One record is no click, so that every topic has something in it.
    """
    folder.mkdir()
    with System(bootstrap_servers, folder, launch=start_as_user) as system:
        blocks = simulated_clicks(system.settings.block_rule)
        for name in ("sessionizer", "trainer", "inference"):
            system.start(name)
        system.send_raw([RawRecord(b"poisoned", b"no click")])
        for block, clicks in enumerate(blocks):
            half = len(clicks) // 2
            system.send(clicks[:half])
            if block == JOINED_IN:
                system.wait_until_holding(system.start("inference"))
            system.send(clicks[half:])
            system.end_block(block)
            system.wait_until_served(block)
        system.wait_until_scored(sum(map(len, blocks)))
        for worker in system.workers:
            worker.terminate()
        assert {worker.wait() for worker in system.workers} == {0}, "\n".join(system.log_tails())
        return WholeRun(blocks, system.outcome(), system)


def identities(manifests: Sequence[Manifest]) -> list[tuple[object, ...]]:
    """What of manifests must not depend on who trained them, and when."""
    names = ("version", "parent", "predecessor", "blocks", "digest")
    return [tuple(getattr(manifest, name) for name in names) for manifest in manifests]
