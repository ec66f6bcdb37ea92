"""Change how blocks are divided, from the end of the last known block.

Up to there every partition ends the old blocks, in its own time; from there on all of them follow
the new grid. The numbers continue: no number has two spans of time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from ader_stream.errors import AderError, SettingsError
from ader_stream.stream.control.commands import Command, ask
from ader_stream.stream.control.rules import as_text, blocks_as_written
from ader_stream.stream.control.rules_log import BLOCKS
from ader_stream.stream.groups.groups import committed_by, members_of
from ader_stream.stream.kafka.clients import KafkaClients
from ader_stream.stream.model_registry.registry import Registry
from ader_stream.stream.scores.score_log import read_scores
from ader_stream.stream.sessions.records.partition_state import PartitionState, read_states
from ader_stream.stream.topics.topics import Topics
from ader_stream.types import BlockRule

CUTTING = ("sessionizer", "inference")
"""Workers that divide clicks into blocks."""


class KnownBlock(NamedTuple):
    """The last known block, and the source of that knowledge."""

    block: int
    of: str


@dataclass(frozen=True)
class BlockChangePlan:
    """Effect of a change.

    Parameters
    ----------
    before, after
        Rule of blocks without it, and with it. None: there is no block yet.
    last
        The last block that stays as it is; None if there is no known block.
    """

    before: BlockRule | None
    after: BlockRule
    last: KnownBlock | None


def plan_change(
    clients: KafkaClients, topics: Topics, partitions: int, registry: Registry, grid: BlockRule
) -> BlockChangePlan:
    """Return from where on blocks can follow another grid; nothing is changed.

    Raises
    ------
    SettingsError
        If blocks are known, but not their rule.
    """
    before = registry.rules.blocks
    known = _known_blocks(clients, topics, partitions, registry)
    last = max(known, key=lambda one: one.block, default=None)
    if last is None:
        return BlockChangePlan(before, grid, None)
    if before is None:
        raise SettingsError(
            f"block {last.block} is known ({last.of}), but not the rule of blocks so far: set "
            "blocks.length and blocks.origin back to what they were, start a sessionizer, which "
            "logs them, and change them then"
        )
    if before.grid == grid:
        return BlockChangePlan(before, before, last)
    after = before.changed(last.block + 1, grid.origin, grid.length)
    return BlockChangePlan(before, after, last)


def change_blocks(clients: KafkaClients, topics: Topics, plan: BlockChangePlan) -> None:
    """Log the new rule of blocks in `control`.

    Raises
    ------
    AderError
        If a worker is running: it would use the old rule.
    """
    groups = [topics.group(worker) for worker in CUTTING]
    if running := members_of(clients.admin(), groups):
        who = "; ".join(f"{group}: {', '.join(members)}" for group, members in running.items())
        raise AderError(
            f"workers are running ({who}), which divide blocks by "
            f"{as_text(blocks_as_written(plan.before or plan.after))}; stop them first. One that "
            "was killed counts as running until kafka.session_timeout has passed"
        )
    ask(clients, topics, Command(BLOCKS, block_rule=plan.after))


def _known_blocks(
    clients: KafkaClients, topics: Topics, partitions: int, registry: Registry
) -> Iterator[KnownBlock]:
    """Yield blocks whose numbers are used: in states, scores, places and versions."""
    for partition in range(partitions):
        [state] = read_states(clients, topics.sessionizer_state, [partition]).values()
        for block in _blocks_of(state):
            yield KnownBlock(block, f"open on partition {partition}")
    for key, _ in read_scores(clients, topics.scores):
        yield KnownBlock(key.block, f"scored on partition {key.partition}")
    group = topics.group("inference")
    places = committed_by(clients, group, topics.clicks, range(partitions))
    for partition, place in places.items():
        block = json.loads(place.metadata or "{}").get("open_block")
        if block is not None:
            yield KnownBlock(block, f"open to inference on partition {partition}")
    for version, manifest in registry.manifests.items():
        for block in manifest.blocks:
            yield KnownBlock(block, f"trained by version {version}")


def _blocks_of(state: PartitionState) -> Iterator[int]:
    if state.window.open_block is not None:
        yield state.window.open_block
    yield from state.window.counts
    yield from {session.block for session in state.sessions}
