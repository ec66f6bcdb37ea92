"""Sessions in, complete blocks out: what the trainer waits for."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from confluent_kafka import TopicPartition

from ader_stream.stream.forgetting import Forgotten
from ader_stream.stream.kafka.changelog import REQUEST_TIMEOUT, checked, offset_range
from ader_stream.stream.kafka.clients import READ_MESSAGES, KafkaClients
from ader_stream.stream.kafka.codec import decode
from ader_stream.stream.kafka.records import Record
from ader_stream.stream.sessions.session_records import decode_sessions
from ader_stream.types import Session

GROWTH_SECONDS = 10.0
"""How often the topic is asked for partitions that are new."""


@dataclass(frozen=True)
class TrainingBlock:
    """D_t: complete blocks, joined where they were short.

    Parameters
    ----------
    blocks
        Numbers of those that have sessions.
    sessions
        Sorted by (last time, first time, key): the order does not depend on partitions.
    first_offsets, next_offsets
        Partition of the sessions topic → where reading has begun, and where it goes on after
        these blocks.
    """

    blocks: tuple[int, ...]
    sessions: tuple[Session, ...]
    first_offsets: Mapping[int, int]
    next_offsets: Mapping[int, int]

    def without(self, forgotten: Forgotten) -> TrainingBlock:
        """Return this block without the sessions that are forgotten."""
        if not forgotten:
            return self
        kept = tuple(s for s in self.sessions if not forgotten.covers(s.key, s.times[0]))
        return replace(self, sessions=kept)


@dataclass
class _PartitionProgress:
    """What was read of one partition of the sessions topic."""

    next_offset: int
    reached: int | None = None
    ends: dict[int, int] = field(default_factory=dict)  # block → offset behind its BlockEnd


class BlockFeed:
    """Reads the sessions topic and gives out complete blocks, in order.

    A block is complete when every partition has ended it, or one after it. Partitions that the
    topic is given later are read too.

    Parameters
    ----------
    partitions
        Number of partitions of the topic.
    start
        Partition → offset to read from; a partition that is not there is read from its beginning.
    """

    def __init__(
        self, clients: KafkaClients, topic: str, partitions: int, start: Mapping[int, int]
    ) -> None:
        self._sessions: defaultdict[int, list[Session]] = defaultdict(list)
        self._progress = {
            partition: _PartitionProgress(
                start.get(partition) or offset_range(clients, topic, partition)[0]
            )
            for partition in range(partitions)
        }
        self._topic = topic
        self._looks_again_at = time.monotonic() + GROWTH_SECONDS
        self._consumer = clients.reader()
        self._consumer.assign(
            [TopicPartition(topic, p, at.next_offset) for p, at in self._progress.items()]
        )

    def poll(self, timeout: float) -> None:
        """Read what is there, waiting up to `timeout` seconds for the first record."""
        if time.monotonic() >= self._looks_again_at:
            self.grow()
        for record in checked(self._consumer.consume(READ_MESSAGES, timeout)):
            self._take(record)

    def grow(self) -> None:
        """Read the partitions that the topic has been given since; `poll` does it now and then."""
        self._looks_again_at = time.monotonic() + GROWTH_SECONDS
        known = self._consumer.list_topics(self._topic, timeout=REQUEST_TIMEOUT).topics[self._topic]
        new = [partition for partition in known.partitions if partition not in self._progress]
        for partition in new:
            self._progress[partition] = _PartitionProgress(0)
        if new:
            self._consumer.incremental_assign([TopicPartition(self._topic, p, 0) for p in new])

    def waiting(self) -> list[int]:
        """Complete blocks that have sessions and were not given out yet."""
        end = self._complete()
        return sorted(block for block in self._sessions if end is not None and block <= end)

    def next_block(self, min_sessions: int, *, all_waiting: bool = False) -> TrainingBlock | None:
        """Give out the next complete block, joined with those after it up to `min_sessions`.

        `all_waiting` joins every block that waits.
        """
        sessions: list[Session] = []
        blocks: list[int] = []
        for block in self.waiting():
            if len(sessions) >= min_sessions and not all_waiting:
                break
            blocks.append(block)
            sessions += self._sessions[block]
        if len(sessions) < min_sessions or not blocks:
            return None
        for block in blocks:
            del self._sessions[block]
        first = {partition: at.next_offset for partition, at in self._progress.items()}
        for progress in self._progress.values():
            progress.next_offset = progress.ends.get(blocks[-1], progress.next_offset)
            progress.ends = {b: at for b, at in progress.ends.items() if b > blocks[-1]}
        sessions.sort(key=lambda s: (s.times[-1], s.times[0], s.key))
        offsets = {partition: at.next_offset for partition, at in self._progress.items()}
        return TrainingBlock(tuple(blocks), tuple(sessions), first, offsets)

    def close(self) -> None:
        """Stop reading."""
        self._consumer.close()

    def _take(self, record: Record) -> None:
        type_name, value = decode(record.value(), record.headers())
        if type_name == "SessionBatch":
            self._sessions[value["block"]] += decode_sessions(value)
        elif type_name == "BlockEnd":
            progress = self._progress[record.partition()]
            progress.reached = value["block"]
            progress.ends[value["block"]] = record.offset() + 1

    def _complete(self) -> int | None:
        """The last block that every partition has reached."""
        reached = [progress.reached for progress in self._progress.values()]
        known = [block for block in reached if block is not None]
        return min(known) if len(known) == len(reached) else None
