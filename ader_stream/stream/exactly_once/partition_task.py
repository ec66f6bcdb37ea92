"""The task of an input partition, and what belongs to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from ader_stream.stream.groups.groups import Committed, Extent
from ader_stream.stream.kafka.producing import Transaction
from ader_stream.stream.kafka.records import Record
from ader_stream.stream.transactions.producer import TransactionalProducer


class PartitionTask(Protocol):
    """Process one input partition: its state, and the outputs computed from its records."""

    def place(self, committed: Committed | None, extent: Extent) -> Committed | None:
        """Return where reading continues: by the task's own records, or else by the group.

        A group's offsets expire after a while without members; the task's own records hold the
        offset of its state. None if reading has never begun. Called once, before anything else,
        after earlier owners were fenced, and like `restore` in another thread than the loop's. May
        raise `AderError`: the process stops.

        Parameters
        ----------
        committed
            The group's offset, with the metadata that `write` returned; None if it has none.
        extent
            First and end offset of the partition's log.
        """

    def restore(self, place: Committed, first: int) -> int:
        """Restore the state at a place; return the offset to read from, at most the place's.

        `process` gets the records below the place again: they rebuild state and must not be
        counted. Those below `first` were deleted. Called once, after `place`.
        """

    def begin(self) -> None:
        """Start; called once in the loop's thread, before the first records. Must not block."""

    def process(self, records: list[Record]) -> None:
        """Process records in offset order. May raise `AderError`: the process ends, uncommitted."""

    def tick(self, *, is_at_end: bool) -> None:
        """Do what needs no record; called between batches, at least every 100 ms.

        `is_at_end`: the last record of the log so far has been processed.
        """

    def is_dirty(self) -> bool:
        """Whether there is something to write although no record has arrived."""

    def write(self, transaction: Transaction, next_offset: int) -> str:
        """Produce what is new since the last call; return the offset's metadata."""

    def committed(self) -> None:
        """Take note that the transaction of the last `write` is committed."""


TaskT = TypeVar("TaskT", bound=PartitionTask)


@dataclass
class AssignedPartition(Generic[TaskT]):
    """A partition that this process owns."""

    task: TaskT
    producer: TransactionalProducer
    next_offset: int
    committed_offset: int
    ended_at: int | None = None  # last end of partition that was read; None: there is more
    aborts: int = 0  # in a row
    transaction_ms: int = 0  # that its producer has for a transaction
    opened_at: float = 0.0  # s, its last transaction
    last_read: int | None = None  # timestamp of the last record read, ms since 1970

    def has_work(self) -> bool:
        """Whether there is something to commit.

        There is nothing below the committed offset: a restored task only rebuilds its state.
        """
        ahead = self.next_offset - self.committed_offset
        return ahead > 0 or (ahead == 0 and self.task.is_dirty())

    def note_commit(self) -> None:
        """Take note that the transaction up to `next_offset` is committed."""
        self.committed_offset = self.next_offset
        self.aborts = 0
        self.task.committed()
