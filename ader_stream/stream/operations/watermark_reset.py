"""Show each partition's event time, and correct it.

A reset uses the partition's transactional id. A running owner is fenced, joins its group again and
restores the corrected state. State, hint and the record for followers of the log are written in one
transaction.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from confluent_kafka import KafkaException

from ader_stream.errors import OffsetError, TopicError
from ader_stream.stream.avro.codec import decode, encode
from ader_stream.stream.kafka.clients import KafkaClients
from ader_stream.stream.kafka.producing import Transaction
from ader_stream.stream.kafka.reading import read_to_end
from ader_stream.stream.kafka.rights import Right, authorization_error_or
from ader_stream.stream.sessions.outputs import WatermarkReset
from ader_stream.stream.sessions.records.partition_state import PARTITION_KEY
from ader_stream.stream.sessions.records.session_records import encode_decision
from ader_stream.stream.topics.topics import Topics
from ader_stream.stream.transactions.producer import sole_producer
from ader_stream.types import BlockRule


class EventTime(NamedTuple):
    """The event time of a partition: its watermark (ms), open block and next offset.

    None if the partition has no click yet.
    """

    partition: int
    watermark: int | None
    open_block: int | None
    next_offset: int


def event_times(clients: KafkaClients, topics: Topics, partitions: int) -> Iterator[EventTime]:
    """Yield the event time of each partition's committed state."""
    for partition in range(partitions):
        state = _state(clients, topics, partition)
        yield EventTime(
            partition,
            state.get("watermark"),
            state.get("open_block"),
            state.get("next_offset", -1),
        )


def reset_watermark(
    clients: KafkaClients,
    topics: Topics,
    blocks: BlockRule,
    lateness: int,
    partition: int,
    watermark: int,
) -> EventTime:
    """Move a partition's watermark (ms) back, and open its block.

    Raises
    ------
    OffsetError
        If the partition's watermark is not after that time.
    TopicError
        If the transaction fails, for example because a worker has taken the partition meanwhile.
    """
    owner = f"{topics.group('sessionizer')}.{partition}"

    def failure(exception: KafkaException) -> Exception:
        reason = TopicError(
            f"{topics.sessionizer_state}/{partition}: the reset was not committed "
            f"({exception.args[0].str()}); run it again"
        )
        return authorization_error_or(
            exception, Right("TransactionalId", owner, ("Write",)), reason
        )

    with sole_producer(clients.producer(owner), failure) as producer:
        state = _state(clients, topics, partition)
        _require_later(topics, partition, state.get("watermark"), watermark)
        reset = WatermarkReset(state["next_offset"], watermark, blocks.block_of(watermark))
        transaction = Transaction()
        _add_records(transaction, topics, partition, state, reset, lateness)
        producer.transact(transaction.send)
    return EventTime(partition, watermark, reset.open_block, reset.next_offset)


def _require_later(topics: Topics, partition: int, now: int | None, watermark: int) -> None:
    """Raise OffsetError unless a partition's watermark is after the one that it is reset to."""
    if now is None:
        raise OffsetError(f"{topics.clicks}/{partition} has no watermark yet: nothing to correct")
    if watermark >= now:
        raise OffsetError(
            f"{topics.clicks}/{partition} is at {now} ms, which is not "
            f"after {watermark}: a reset moves back; clicks and heartbeats advance event time"
        )


def _add_records(
    transaction: Transaction,
    topics: Topics,
    partition: int,
    state: dict[str, Any],
    reset: WatermarkReset,
    lateness: int,
) -> None:
    evicted_until = state["evicted_until"]
    is_ahead = evicted_until is not None and evicted_until > reset.watermark
    corrected = state | {
        "watermark": reset.watermark,
        "open_block": reset.open_block,
        "evicted_until": None if is_ahead else evicted_until,
        "jumps": [],
    }
    value, headers = encode("PartitionState", corrected)
    transaction.produce(topics.sessionizer_state, PARTITION_KEY, value, headers, partition)
    value, headers = encode_decision(partition, reset)
    transaction.produce(topics.sessions, str(partition), value, headers, partition)
    value, headers = encode("Watermark", {"stream_time": reset.watermark + lateness})
    transaction.produce(topics.watermarks, str(partition), value, headers)


def _state(clients: KafkaClients, topics: Topics, partition: int) -> dict[str, Any]:
    """Return the last committed PartitionState's value; empty where there is none."""
    found: dict[str, Any] = {}
    for record in read_to_end(clients, topics.sessionizer_state, partition):
        if record.key() == PARTITION_KEY and record.value() is not None:
            _, found = decode(record.value(), record.headers())
    return found
