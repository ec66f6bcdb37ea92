"""Read sessions, and return complete blocks of them to the trainer.

While blocks grow, only their ends are kept in memory. The sessions of a complete block are then
read from the log again, into columns on disk: waiting blocks take no memory.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from confluent_kafka import TopicPartition

from ader_stream.errors import OffsetError, TopicError
from ader_stream.runtime.tracing.spans import sampled_context
from ader_stream.stream.avro.codec import decode, type_of
from ader_stream.stream.blocks.columns import ColumnWriter, Int64, SessionColumns
from ader_stream.stream.blocks.hashed_keys import HashedKeys
from ader_stream.stream.control.erasures import Erasures
from ader_stream.stream.kafka.clients import KafkaClients
from ader_stream.stream.kafka.follower import LogFollower
from ader_stream.stream.kafka.reading import (
    offset_range,
    offset_ranges,
    read_range,
)
from ader_stream.stream.kafka.records import Record, written_at_of
from ader_stream.stream.sessions.records.session_records import decode_sessions
from ader_stream.stream.telemetry.lag import Unread
from ader_stream.stream.topics.topics import topic_id as id_of_topic
from ader_stream.types import Session

GROWTH_SECONDS = 10.0
"""Seconds between two checks for new partitions."""

BATCHES_AT_ONCE = 100
"""Records of one `consume` call: session batches of about 100 kB each."""


@dataclass(frozen=True, eq=False)
class TrainingBlock:
    """D_t: complete blocks, joined where they were short.

    Parameters
    ----------
    blocks
        Numbers of the blocks with sessions.
    sessions
        Sorted by (last time, first time, key), so that the order does not depend on partitions.
    first_offsets, next_offsets
        Partition of the sessions topic → first offset, and next offset after these blocks.
    skipped
        Sessions that were left out because their keys are erased.
    topic_id
        Kafka's id of the topic of the offsets; empty if there are none.
    trained_before
        Block → sessions that were left out because a version was trained on them before.
    hashed
        Hashes of the sessions' keys, to find those that a request erases.
    earlier
        Blocks of earlier versions that are trained again with this one; None for none.
    rows
        Positions of the sessions among those that were read, erased ones included; None: the same.
    traces
        Contexts of the spans that have written the sessions, if they hold traced clicks.
    """

    blocks: tuple[int, ...]
    sessions: SessionColumns
    first_offsets: Mapping[int, int]
    next_offsets: Mapping[int, int]
    skipped: int = 0
    topic_id: str = ""
    trained_before: Mapping[int, int] = field(default_factory=dict)
    hashed: HashedKeys = field(default_factory=HashedKeys)
    earlier: TrainingBlock | None = None
    rows: Int64 | None = None
    traces: tuple[str, ...] = ()

    def without(self, erasures: Erasures, since: int = 0) -> TrainingBlock:
        """Return this block without the sessions that requests since an offset of `control` erase.

        Return this block itself if there are none. Keys are hashed once, for all requests.
        """
        rows = self.hashed.rows_of(self.sessions, erasures.since(since))
        gone = [row for row in rows if self._is_erased(row, erasures)]
        earlier = self.earlier.without(erasures, since) if self.earlier else None
        if not gone:
            return self if earlier is self.earlier else replace(self, earlier=earlier)
        kept = np.delete(np.arange(len(self.sessions)), gone)
        skipped = self.skipped + len(gone)
        return replace(
            self,
            sessions=self.sessions.take(kept),
            hashed=self.hashed.take(kept),
            skipped=skipped,
            earlier=earlier,
            rows=self.rows_read(kept),
        )

    def rows_read(self, rows: Int64) -> Int64:
        """Return the positions of some sessions among those that were read."""
        return rows if self.rows is None else self.rows[rows]

    @property
    def erased(self) -> int:
        """Return the number of erased sessions that were left out, including earlier blocks."""
        return self.skipped + (self.earlier.erased if self.earlier else 0)

    def unread(self) -> TrainingBlock:
        """Return this block with its first offsets as the next ones: its sessions are read again.

        A version of it does not count as trained on its part of the topic (`is_unread`).
        """
        return replace(self, next_offsets=self.first_offsets)

    @property
    def is_unread(self) -> bool:
        """Return whether its sessions are to be read again."""
        return bool(self.first_offsets) and self.next_offsets == self.first_offsets

    def _is_erased(self, row: int, erasures: Erasures) -> bool:
        sessions = self.sessions
        erasure = erasures.of(sessions.key(row))
        erased_to, began = int(sessions.erased_to[row]), int(sessions.began[row])
        return erasure is not None and erasure.covers_closed(erased_to, began)


@dataclass
class _PartitionProgress:
    """Progress of reading one partition of the sessions topic."""

    next_offset: int
    is_at_end: bool = False
    read_to: int = 0
    last_read: int | None = None
    reached: int | None = None
    ends: dict[int, int] = field(default_factory=dict)  # block → offset after its BlockEnd

    def reset(self, open_block: int) -> None:
        """Record that this block and later ones will end again."""
        self.reached = open_block - 1
        self.ends = {block: at for block, at in self.ends.items() if block < open_block}


class BlockFeed:
    """Read the sessions topic and return complete blocks, in order.

    A block is complete when every partition has ended it, or a later one. Partitions that are added
    to the topic are read too.

    Parameters
    ----------
    partitions
        Number of partitions of the topic.
    start
        Partition → offset to read from; other partitions are read from their first records.
    topic_id
        Kafka's id of the topic of the offsets; empty for any.
    is_trained
        Returns whether a version was trained on a session, which is then left out.

    Raises
    ------
    OffsetError
        If sessions were deleted that no version was trained on.
    """

    def __init__(
        self,
        clients: KafkaClients,
        topic: str,
        partitions: int,
        start: Mapping[int, int],
        *,
        topic_id: str = "",
        is_trained: Callable[[Session], bool] | None = None,
    ) -> None:
        self._clients = clients
        self._topic_id = topic_id
        self._is_trained = is_trained
        self._traces = dict[str, None]()  # of the block that is read; in order, each once
        self._sessions: Counter[int] = Counter()  # by block, of blocks not returned yet
        self._progress = {
            partition: _PartitionProgress(
                _held_from(clients, topic, partition, start.get(partition))
            )
            for partition in range(partitions)
        }
        self._topic = topic
        self._looks_again_at = time.monotonic() + GROWTH_SECONDS
        handlers = {topic: self._take}
        self._follower = LogFollower(clients, handlers, self._note_end, at_once=BATCHES_AT_ONCE)
        self._follower.follow(
            [TopicPartition(topic, p, at.next_offset) for p, at in self._progress.items()]
        )

    def poll(self, timeout: float) -> None:
        """Read what has arrived; wait up to `timeout` seconds for the first record."""
        if time.monotonic() >= self._looks_again_at:
            self.grow()
        self.read(timeout)

    def read(self, timeout: float = 0.0) -> None:
        """Read as `poll` does, without looking for new partitions."""
        self._follower.poll(timeout)

    def grow(self) -> None:
        """Read the partitions that were added to the topic since; `poll` does it now and then."""
        self._looks_again_at = time.monotonic() + GROWTH_SECONDS
        known = self._follower.partitions(self._topic)
        new = [partition for partition in known if partition not in self._progress]
        for partition in new:
            self._progress[partition] = _PartitionProgress(0)
        if new:
            self._follower.follow([TopicPartition(self._topic, p, 0) for p in new])

    def waiting(self) -> list[int]:
        """Return the complete blocks that have sessions and were not returned yet."""
        end = self._complete()
        waiting = (block for block, count in self._sessions.items() if count)
        return sorted(block for block in waiting if end is not None and block <= end)

    def unread(self) -> dict[int, Unread]:
        """Return what was not read of each partition, as far as it is known."""
        return {p: Unread(self._left_of(p), at.last_read) for p, at in self._progress.items()}

    def next_block(
        self,
        min_sessions: int,
        *,
        all_waiting: bool = False,
        last_block_to_retrain: int | None = None,
    ) -> TrainingBlock | None:
        """Return the next complete block, joined with later ones up to `min_sessions`, or None.

        `all_waiting` joins every waiting block, once the log was read to its end. If blocks up to
        `last_block_to_retrain` were too few to judge a version, at least one more is joined. A
        block has no sessions if versions were trained on all of them.

        Raises
        ------
        TopicError
            If the topic is not the one of the known offsets.
        """
        if all_waiting and not all(progress.is_at_end for progress in self._progress.values()):
            return None
        count, blocks = 0, list[int]()
        for block in self.waiting():
            if (
                count >= min_sessions
                and not all_waiting
                and _goes_beyond(last_block_to_retrain, blocks)
            ):
                break
            blocks.append(block)
            count += self._sessions[block]
        if count < min_sessions or not blocks or not _goes_beyond(last_block_to_retrain, blocks):
            return None
        first = {partition: at.next_offset for partition, at in self._progress.items()}
        last = blocks[-1]
        ends = {
            partition: at.ends.get(last, first[partition])
            for partition, at in self._progress.items()
        }
        self._require_same_topic()
        self._traces.clear()
        writer, new, trained = self._read(first, ends)
        for partition, progress in self._progress.items():
            progress.next_offset = ends[partition]
            progress.ends = {block: at for block, at in progress.ends.items() if block > last}
        for block in [block for block in self._sessions if block <= last]:
            del self._sessions[block]
        return TrainingBlock(
            tuple(block for block in blocks if new[block]),
            writer.columns().sorted(),
            first,
            ends,
            topic_id=self._topic_id,
            trained_before=trained,
            traces=tuple(self._traces),
        )

    @property
    def topic_id(self) -> str:
        """Return Kafka's id of the topic."""
        return self._topic_id

    def read_again(
        self,
        spans: Iterable[Mapping[int, tuple[int, int]]],
        between: Callable[[], None] = lambda: None,
    ) -> TrainingBlock:
        """Read sessions that were returned before, as far as the topic still holds them.

        Parameters
        ----------
        spans
            For each version: partition → first offset and the one behind the last.
        between
            Called after each record; what it raises ends the reading.
        """
        writer, blocks = ColumnWriter(), set[int]()
        for span in spans:
            if self._holds(span):
                for batch in self._batches(span):
                    writer.extend(list(decode_sessions(batch)))
                    blocks.add(batch["block"])
                    between()
        return TrainingBlock(tuple(sorted(blocks)), writer.columns().sorted(), {}, {})

    def close(self) -> None:
        """Stop reading."""
        self._follower.close()

    def _left_of(self, partition: int) -> int:
        progress = self._progress[partition]
        end = self._follower.last_known_end(TopicPartition(self._topic, partition))
        return max(0, end - max(progress.read_to, progress.next_offset))

    def _note_end(self, end: TopicPartition) -> None:
        progress = self._progress[end.partition]
        progress.is_at_end = True
        progress.read_to = max(progress.read_to, end.offset)  # behind the last commit's marker

    def _take(self, record: Record) -> None:
        kind, progress = type_of(record.headers()), self._progress[record.partition()]
        progress.is_at_end = False
        progress.read_to, progress.last_read = record.offset() + 1, written_at_of(record)
        if kind == "BlockEnd":
            _, end = decode(record.value(), record.headers())
            progress.reached = end["block"]
            progress.ends[end["block"]] = record.offset() + 1
            self._sessions[end["block"]] += end["sessions"]
        elif kind == "WatermarkReset":
            _, reset = decode(record.value(), record.headers())
            progress.reset(reset["open_block"])

    def _require_same_topic(self) -> None:
        if self._topic_id and id_of_topic(self._clients.admin(), self._topic) != self._topic_id:
            raise TopicError(
                f"{self._topic} was deleted and created again while it was read; restart this "
                "worker: it reads the new one from its beginning"
            )

    def _read(
        self, first: Mapping[int, int], ends: Mapping[int, int]
    ) -> tuple[ColumnWriter, Counter[int], Counter[int]]:
        """Read the sessions between offsets; count the new and the trained ones by block."""
        writer, new, trained = ColumnWriter(), Counter[int](), Counter[int]()
        for batch in self._batches({p: (start, ends[p]) for p, start in first.items()}):
            sessions = list(decode_sessions(batch))
            kept = self._without_trained(sessions)
            writer.extend(kept)
            new[batch["block"]] += len(kept)
            trained[batch["block"]] += len(sessions) - len(kept)
        return writer, new, +trained

    def _batches(self, span: Mapping[int, tuple[int, int]]) -> Iterator[dict[str, Any]]:
        """Yield the session batches between offsets of each partition."""
        for partition, (start, end) in span.items():
            place = self._topic, partition, start, end
            for record in read_range(self._clients, *place, at_once=BATCHES_AT_ONCE):
                if type_of(record.headers()) == "SessionBatch":
                    if context := sampled_context(record.headers()):
                        self._traces[context] = None
                    yield decode(record.value(), record.headers())[1]

    def _holds(self, span: Mapping[int, tuple[int, int]]) -> bool:
        """Return whether the topic still has all records between the offsets of each partition."""
        held = offset_ranges(self._clients, self._topic, span)
        return all(held[p][0] <= start for p, (start, end) in span.items() if start < end)

    def _without_trained(self, sessions: list[Session]) -> list[Session]:
        if self._is_trained is None:
            return sessions
        return [session for session in sessions if not self._is_trained(session)]

    def _complete(self) -> int | None:
        """Return the last block that every partition has reached; None before the first."""
        reached = [progress.reached for progress in self._progress.values()]
        known = [block for block in reached if block is not None]
        return min(known) if len(known) == len(reached) else None


def _goes_beyond(last_block_to_retrain: int | None, blocks: Sequence[int]) -> bool:
    return last_block_to_retrain is None or any(block > last_block_to_retrain for block in blocks)


def _held_from(clients: KafkaClients, topic: str, partition: int, wanted: int | None) -> int:
    """Return the offset to read from; `wanted` is None if no version was trained on any."""
    first, _ = offset_range(clients, topic, partition)
    if wanted is None or wanted >= first:
        return first if wanted is None else wanted
    raise OffsetError(
        f"{topic}/{partition}: {first - wanted} records, offsets {wanted} to {first - 1}, were "
        "deleted before a version was trained on them; the topic must keep them (retention.ms=-1). "
        "Stop all workers, and `ader-stream reset --yes` makes the sessions again from the clicks; "
        "those that versions were trained on are left out"
    )
