"""What a process has of an input partition that it owns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from confluent_kafka import Producer

from ader_stream.stream.kafka.producing import Transaction
from ader_stream.stream.kafka.records import Record


class PartitionTask(Protocol):
    """The state of one input partition, and what is made of its records."""

    def restore(self, next_offset: int, metadata: str, *, is_committed: bool) -> int:
        """Bring the state to `next_offset`; return the offset to read from, at most that.

        `metadata` is what `write` returned for the last commit, empty before the first. Where the
        group knows of none, `is_committed` is false, `next_offset` is where the settings say that
        reading starts, and a task that knows better may return an offset beyond it.
        Records below `next_offset` come to `process` again: they rebuild state and must not be
        counted. Called once, before anything else, after earlier owners have been fenced, and as
        the only method in another thread than the loop's.
        """

    def begin(self) -> None:
        """Called once, before records come: the place for what tasks share. Must not wait."""

    def process(self, records: list[Record]) -> None:
        """Take records in offset order. May raise `AderError`: the process stops, uncommitted."""

    def tick(self, *, is_at_end: bool) -> None:
        """Called between batches, at least every 100 ms: the place for what needs no record.

        `is_at_end`: the last record of the log, so far, has been processed.
        """

    def is_dirty(self) -> bool:
        """Whether there is something to write although no record has come."""

    def write(self, transaction: Transaction, next_offset: int) -> str:
        """Produce what has come since the last call; return the offset's metadata."""

    def committed(self) -> None:
        """Called after the transaction of the last `write` is committed."""


@dataclass
class Held:
    """A partition that this process owns."""

    task: PartitionTask
    producer: Producer
    next_offset: int
    committed_offset: int
    is_at_end: bool = False
    aborts: int = 0  # in a row
    transaction_ms: int = 0  # that its producer has for a transaction
    opened_at: float = 0.0  # s, its last transaction

    def note_commit(self) -> None:
        """The transaction of all up to `next_offset` is committed."""
        self.committed_offset = self.next_offset
        self.aborts = 0
        self.task.committed()
