"""What a process has of an input partition that it owns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from ader_stream.stream.groups.groups import Committed, Extent
from ader_stream.stream.kafka.producing import Transaction
from ader_stream.stream.kafka.records import Record
from ader_stream.stream.transactions.producer import TransactionalProducer


class PartitionTask(Protocol):
    """The state of one input partition, and what is made of its records."""

    def place(self, committed: Committed | None, extent: Extent) -> Committed | None:
        """Return where reading goes on: what the task's own records say, or else the group.

        A group forgets its offsets after a while without members; the task's own records say
        where its state stands. None where reading has never begun. Called once, before anything
        else, after earlier owners have been fenced, and like `restore` in another thread than the
        loop's. May raise `AderError`: the process stops.

        Parameters
        ----------
        committed
            What the group knows, with the metadata that `write` returned; None for nothing.
        extent
            How far the partition's log reaches.
        """

    def restore(self, place: Committed, first: int) -> int:
        """Bring the state to a place; return the offset to read from, at most the place's.

        Records below the place come to `process` again: they rebuild state and must not be
        counted. Those below `first` are no longer there. Called once, after `place`.
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


TaskT = TypeVar("TaskT", bound=PartitionTask)


@dataclass
class Held(Generic[TaskT]):
    """A partition that this process owns."""

    task: TaskT
    producer: TransactionalProducer
    next_offset: int
    committed_offset: int
    ended_at: int | None = None  # where the log was last said to end; None: there is more to read
    aborts: int = 0  # in a row
    transaction_ms: int = 0  # that its producer has for a transaction
    opened_at: float = 0.0  # s, its last transaction

    def has_work(self) -> bool:
        """Whether there is something to commit.

        There is not below the committed offset: a restored task only reads its state again.
        """
        ahead = self.next_offset - self.committed_offset
        return ahead > 0 or (ahead == 0 and self.task.is_dirty())

    def note_commit(self) -> None:
        """The transaction of all up to `next_offset` is committed."""
        self.committed_offset = self.next_offset
        self.aborts = 0
        self.task.committed()
