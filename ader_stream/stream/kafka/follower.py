"""Follow partitions: pass each new record to its topic's handler, for the life of the process."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import cast

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from ader_stream.stream.kafka.clients import READ_MESSAGES, KafkaClients, close
from ader_stream.stream.kafka.reading import REQUEST_TIMEOUT, ask_offset_range, valid_records
from ader_stream.stream.kafka.records import Record

log = structlog.get_logger(__name__)

Handler = Callable[[Record], None]


def ignore_end(_: TopicPartition) -> None:
    """Do nothing at the end of a partition."""


class LogFollower:
    """Read partitions from given offsets on, without a group; for one thread.

    A client that fails is replaced by one that continues at the same offsets.

    Parameters
    ----------
    handlers
        Topic → handler of its records. What a handler raises passes through `poll`.
    on_end
        Called with a partition and its offset where the log ends for now.
    committed
        Skip the records of open and aborted transactions.
    at_once
        Records that one `poll` returns at most.
    """

    def __init__(
        self,
        clients: KafkaClients,
        handlers: Mapping[str, Handler],
        on_end: Callable[[TopicPartition], None] = ignore_end,
        *,
        committed: bool = True,
        at_once: int = READ_MESSAGES,
    ) -> None:
        self._clients = clients
        self._handlers = handlers
        self._on_end = on_end
        self._committed = committed
        self._at_once = at_once
        self._next: dict[tuple[str, int], int] = {}
        self._reader = self._new_reader()

    def follow(self, places: Collection[TopicPartition]) -> None:
        """Read these partitions too, each from its offset on."""
        self._next |= {(place.topic, place.partition): place.offset for place in places}
        self._reader.incremental_assign([*places])

    def follow_from_first(self, topic: str, partitions: Iterable[int] = (0,)) -> None:
        """Read these partitions too, each from its first record on."""
        firsts = [
            TopicPartition(topic, partition, self.first_offset(TopicPartition(topic, partition)))
            for partition in partitions
        ]
        self.follow(firsts)

    def leave(self, places: Collection[TopicPartition]) -> None:
        """Stop reading these partitions."""
        for place in places:
            del self._next[place.topic, place.partition]
        self._reader.incremental_unassign([*places])

    def first_offset(self, where: TopicPartition) -> int:
        """Return the first offset of a partition, whether it is followed or not."""
        return ask_offset_range(self._reader, where)[0]

    def last_known_end(self, where: TopicPartition) -> int:
        """Return the offset behind the last record of a partition, committed or not, unasked."""
        _, end = self._reader.get_watermark_offsets(where, cached=True)
        return end

    def partitions(self, topic: str) -> list[int]:
        """Return the partitions that a topic has now."""
        return [*self._reader.list_topics(topic, timeout=REQUEST_TIMEOUT).topics[topic].partitions]

    def poll(self, timeout: float = 0.0) -> bool:
        """Pass on what has arrived; wait up to `timeout` seconds for the first record.

        Returns
        -------
        bool
            Whether a record has arrived.

        Raises
        ------
        AderError
            As `valid_records` does, after the records that arrived with the error were passed on.
        """
        has_come, failed = False, list[Message]()
        for message in self._consume(timeout):
            error = message.error()
            if error is None:
                has_come |= self._pass_on(cast("Record", message))
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's own name
                self._note_end(message)
            else:
                failed.append(message)
        valid_records(failed)
        return has_come

    def close(self) -> None:
        """Stop reading."""
        close(self._reader)

    def _consume(self, timeout: float) -> list[Message]:
        try:
            return self._reader.consume(self._at_once, timeout)
        except KafkaException as exception:
            log.warning("reader replaced", error=exception.args[0].str())
            self._replace()
            return []

    def _pass_on(self, record: Record) -> bool:
        place = record.topic(), record.partition()
        if place not in self._next:  # it was fetched before `leave`
            return False
        self._next[place] = record.offset() + 1
        self._handlers[record.topic()](record)
        return True

    def _note_end(self, message: Message) -> None:
        topic, partition = cast("str", message.topic()), cast("int", message.partition())
        if (topic, partition) in self._next:
            self._on_end(TopicPartition(topic, partition, message.offset() or 0))

    def _new_reader(self) -> Consumer:
        return self._clients.reader(committed=self._committed)

    def _replace(self) -> None:
        close(self._reader)
        self._reader = self._new_reader()
        places = [TopicPartition(*place, offset) for place, offset in self._next.items()]
        self._reader.incremental_assign(places)
