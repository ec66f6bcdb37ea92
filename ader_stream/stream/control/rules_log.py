"""The rules that are logged in `control`: how blocks are divided, and how sessions are made.

The sessionizer writes both, so that other workers can compare theirs. Only `ader-stream blocks
change` changes the block rule.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import structlog

from ader_stream import metrics as m
from ader_stream.errors import SettingsError
from ader_stream.metrics import Metrics
from ader_stream.stream.control.commands import Command, decode_command, encode_command
from ader_stream.stream.control.rules import (
    BLOCKS_REMEDY,
    Rules,
    as_text,
    blocks_as_written,
    differences,
)
from ader_stream.stream.kafka.best_effort import BestEffortProducer
from ader_stream.stream.kafka.clients import KafkaClients
from ader_stream.stream.kafka.reading import read_to_end
from ader_stream.stream.topics.topics import Topics
from ader_stream.times import instant_text
from ader_stream.types import BlockRule

log = structlog.get_logger(__name__)

BLOCKS, RULES = "blocks", "rules"
"""Commands of `control` that contain rules."""

RETRY_SECONDS = 10.0
"""Before rules that were lost are written again: the reason may last, such as a missing right."""

CLOSE_SECONDS = 2.0
"""Less than a worker has to stop, also where a broker is away."""


@dataclass(frozen=True)
class LoggedRules:
    """The last logged rules.

    Parameters
    ----------
    blocks
        Rule of blocks, from the first one on; None before the first.
    rules
        Rules of the last started sessionizer; empty before the first.
    """

    blocks: BlockRule | None = None
    rules: Rules = field(default_factory=dict)

    @classmethod
    def of(cls, commands: Iterable[Command]) -> LoggedRules:
        """Collect the current rules from commands, in the order of the log."""
        last = {command.command: command for command in commands}
        blocks, rules = last.get(BLOCKS), last.get(RULES)
        return cls(blocks.block_rule if blocks else None, rules.rules if rules else {})

    def blocks_for(self, own: BlockRule) -> BlockRule:
        """Return the block rule with its changes, if its newest grid is the worker's own.

        Raises
        ------
        SettingsError
            If it is another one.
        """
        if self.blocks is None or self.blocks.grid == own:
            return self.blocks or own
        changed = differences(blocks_as_written(self.blocks), blocks_as_written(own))
        now = as_text({change.name: change.now for change in changed})
        logged = as_text({change.name: change.then for change in changed})
        since = self.blocks.changes[-1:]
        from_ = f" from block {since[0].first_block} on" if since else ""
        raise SettingsError(
            f"{now}: blocks are cut with {logged}{from_}; set it back, or {BLOCKS_REMEDY}"
        )


def read_logged_rules(clients: KafkaClients, topics: Topics) -> LoggedRules:
    """Read the current rules; raise DecodeError if only a newer release can read them."""
    last = {record.key(): record for record in read_to_end(clients, topics.control)}
    found = [last[key] for key in (BLOCKS.encode(), RULES.encode()) if key in last]
    return LoggedRules.of(decode_command(one) for one in found if one.value() is not None)


def blocks_in_force(clients: KafkaClients, topics: Topics, own: BlockRule) -> BlockRule:
    """Return the rule of blocks if a worker's settings agree with the log.

    Raises
    ------
    SettingsError
        If they do not.
    """
    return read_logged_rules(clients, topics).blocks_for(own)


class RulesAnnouncement:
    """Logs the rules of a sessionizer, once, for the other workers to compare with theirs.

    It does not wait for Kafka: a broker that is away stops no sessionizer. What was lost is
    written again. What another sessionizer logs later is not answered, or two with different
    rules would answer each other for ever.

    Parameters
    ----------
    blocks, rules
        The worker's own.
    clock
        Monotonic seconds.
    """

    def __init__(
        self,
        clients: KafkaClients,
        topics: Topics,
        blocks: BlockRule,
        rules: Rules,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._producer = BestEffortProducer(clients)
        self._topic = topics.control
        self._blocks = blocks
        self._rules = rules
        self._said: set[str] = set()
        self._clock = clock
        self._says_again_at = -math.inf

    def announce(self, logged: LoggedRules) -> None:
        """Log the rules that the log does not have; call it again for those that are lost.

        Raises
        ------
        SettingsError
            If the blocks were changed since the sessionizer was started.
        """
        logged.blocks_for(self._blocks)
        if logged.blocks is None:
            self._say(Command(BLOCKS, block_rule=self._blocks))
        if logged.rules == self._rules:
            self._said.add(RULES)
        else:
            self._say(Command(RULES, rules=self._rules))
        self._producer.poll()

    def close(self) -> None:
        """Wait a moment for what is under way; what is lost is logged after the next start."""
        self._producer.flush(CLOSE_SECONDS)

    def _say(self, command: Command) -> None:
        name = command.command
        if name in self._said or self._clock() < self._says_again_at:
            return
        self._said.add(name)
        record = encode_command(command)
        self._producer.produce(self._topic, *record, on_loss=lambda: self._note_loss(name))

    def _note_loss(self, name: str) -> None:
        self._said.discard(name)
        self._says_again_at = self._clock() + RETRY_SECONDS


class RulesComparison:
    """Compares a worker's own settings with those by which sessions are made.

    Parameters
    ----------
    rules
        The worker's own.
    """

    def __init__(self, rules: Rules, metrics: Metrics) -> None:
        self._rules = rules
        self._gauge = metrics[m.SETTINGS_DIFFERING]
        self._said: Sequence[str] = ()

    def compare(self, logged: LoggedRules) -> None:
        """Export the number of settings that differ; log them once."""
        found = [str(one) for one in differences(logged.rules, self._rules)]
        self._gauge.set(len(found))
        if found and found != self._said:
            log.warning(
                "settings differ from the sessionizer's (its value → this worker's): this worker "
                "follows other sessions",
                settings=found,
            )
        self._said = found


def describe_blocks(blocks: BlockRule) -> list[str]:
    """Return a line for each grid of a block rule.

    >>> describe_blocks(BlockRule(0, 86_400_000).changed(2, 0, 604_800_000))[1]
    'from block 2 (1970-01-03T00:00:00Z) on: 7d, counted from 1970-01-01T00:00:00Z'
    """
    starts = [
        "",
        *(f"from block {c.first_block} ({instant_text(c.start)}) on: " for c in blocks.changes),
    ]
    return [start + _grid_text(grid) for start, grid in zip(starts, blocks.grids, strict=True)]


def _grid_text(grid: BlockRule) -> str:
    written = blocks_as_written(grid)
    return f"{written['blocks.length']}, counted from {written['blocks.origin']}"
