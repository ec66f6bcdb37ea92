"""Reading what comes to partitions, for as long as the process lives."""

from __future__ import annotations

from collections.abc import Collection

import structlog
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from ader_stream.stream.kafka.changelog import ask_offset_range
from ader_stream.stream.kafka.clients import KafkaClients, close

log = structlog.get_logger(__name__)


class TailReader:
    """Reads partitions from given offsets on.

    A client that fails is replaced by one that goes on where it was.

    Parameters
    ----------
    committed
        Read no record of a transaction that is open or aborted.
    """

    def __init__(self, clients: KafkaClients, *, committed: bool = True) -> None:
        self._clients = clients
        self._committed = committed
        self._next: dict[tuple[str, int], int] = {}
        self._reader = self._new_reader()

    def follow(self, places: Collection[TopicPartition]) -> None:
        """Read these partitions, too, each from its offset on."""
        self._next |= {(place.topic, place.partition): place.offset for place in places}
        self._reader.incremental_assign([*places])

    def leave(self, places: Collection[TopicPartition]) -> None:
        """Read these partitions no more."""
        for place in places:
            del self._next[place.topic, place.partition]
        self._reader.incremental_unassign([*places])

    def first_offset(self, where: TopicPartition) -> int:
        """Return the first offset of a partition, be it followed or not."""
        return ask_offset_range(self._reader, where)[0]

    def consume(self, count: int, timeout: float) -> list[Message]:
        """Return what has come, errors among it, as `Consumer.consume` does."""
        try:
            messages = self._reader.consume(count, timeout)
        except KafkaException as exception:
            log.warning("a reader is replaced", error=exception.args[0].str())
            self._replace()
            return []
        for message in messages:
            place = message.topic() or "", message.partition() or 0
            if message.error() is None and place in self._next:
                self._next[place] = (message.offset() or 0) + 1
        return messages

    def close(self) -> None:
        """Stop reading."""
        close(self._reader)

    def _new_reader(self) -> Consumer:
        return self._clients.reader(committed=self._committed)

    def _replace(self) -> None:
        close(self._reader)
        self._reader = self._new_reader()
        places = [TopicPartition(*place, offset) for place, offset in self._next.items()]
        self._reader.incremental_assign(places)
