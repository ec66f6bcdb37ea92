"""Take partitions over in another thread than the loop's, which reads the others."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import islice
from queue import SimpleQueue
from typing import Generic

from ader_stream.stream.exactly_once.partition_task import AssignedPartition, TaskT
from ader_stream.stream.exactly_once.takeover import KeptProducer, Taking

AT_ONCE = 50
"""Partitions that are taken together: their requests are sent side by side, each in a thread, their
changelogs are read by one client, and are in memory together with the restored state."""

FENCE_SECONDS = 5.0
"""Seconds that a revocation waits for requests that would fence the next owner."""

CLOSE_SECONDS = 2.0
"""Seconds that leaving the group waits for the thread to end."""


@dataclass
class _Batch(Generic[TaskT]):
    """Partitions that are taken together.

    Parameters
    ----------
    wanted
        Those that were not given up since.
    kept
        Producers of earlier takeovers.
    aborts
        Of their transactions, in a row.
    """

    wanted: set[int]
    kept: Mapping[int, KeptProducer] = field(default_factory=dict)
    aborts: int = 0
    outcome: Future[dict[int, AssignedPartition[TaskT]]] = field(default_factory=Future)


class _GivenUpError(Exception):
    """Raised when all partitions of a batch were given up."""


class Takeovers(Generic[TaskT]):
    """Take partitions over while the loop reads and commits others.

    To restore a large state takes many seconds, in which the group must be answered and held
    partitions must not wait.

    Parameters
    ----------
    taking
        Fences earlier owners and restores the state.
    """

    def __init__(self, taking: Taking[TaskT]) -> None:
        self._taking = taking
        self._batches: deque[_Batch[TaskT]] = deque()
        self._queue: SimpleQueue[_Batch[TaskT] | None] = SimpleQueue()
        self._fencing = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="takeovers", daemon=True)

    def __len__(self) -> int:
        """Return the number of partitions that are being taken over, or wait for it."""
        return sum(len(batch.wanted) for batch in self._batches)

    def begin(self, partitions: Iterable[int]) -> None:
        """Take partitions over, in batches."""
        left = iter(partitions)
        while some := set(islice(left, AT_ONCE)):
            self._append(_Batch(some))

    def begin_again(self, partition: int, kept: KeptProducer, aborts: int) -> None:
        """Restore a partition that ran in this process, after so many `aborts` in a row."""
        self._append(_Batch({partition}, {partition: kept}, aborts))

    def done(self) -> Iterator[tuple[int, AssignedPartition[TaskT]]]:
        """Yield the partitions that were taken over since the last call.

        Raises
        ------
        AderError, KafkaException
            If one could not be taken over.
        """
        while self._batches and self._batches[0].outcome.done():
            batch = self._batches.popleft()
            if not batch.wanted:
                continue
            for partition, assigned in batch.outcome.result().items():
                if partition in batch.wanted:
                    assigned.aborts = batch.aborts
                    yield partition, assigned

    def give_up(self, partitions: Collection[int]) -> None:
        """Cancel these. On return, no owner will be fenced for them, unless a request hangs."""
        for batch in self._batches:
            batch.wanted.difference_update(partitions)
        if self._fencing.acquire(timeout=FENCE_SECONDS):
            self._fencing.release()

    def close(self) -> None:
        """Cancel all, and wait up to `CLOSE_SECONDS` for the thread to end."""
        for batch in self._batches:
            batch.wanted.clear()
        self._queue.put(None)
        if self._thread.ident is not None:
            self._thread.join(CLOSE_SECONDS)

    def _append(self, batch: _Batch[TaskT]) -> None:
        if self._thread.ident is None:
            self._thread.start()
        self._batches.append(batch)
        self._queue.put(batch)

    def _run(self) -> None:
        while self._take_next():
            pass

    def _take_next(self) -> bool:
        """Wait for a batch and take it over; return False at the end.

        A function of its own, so that no variable keeps the states of a batch alive.
        """
        batch = self._queue.get()
        if batch is None:
            return False
        try:
            batch.outcome.set_result(self._take(batch))
        except BaseException as error:
            batch.outcome.set_exception(error)
        return True

    def _take(self, batch: _Batch[TaskT]) -> dict[int, AssignedPartition[TaskT]]:
        def stay() -> None:
            if not batch.wanted:
                raise _GivenUpError

        with self._fencing:  # `give_up` waits for this
            stay()
            producers = self._taking.producers(set(batch.wanted), batch.kept)
        left = {p: producer for p, producer in producers.items() if p in batch.wanted}
        return self._taking.restore(left, stay) if left else {}
