"""How far the stream has come on other partitions: what idle ones follow.

Stream times are told through the topic `watermarks`, outside transactions: they are hints. Whoever
follows one logs that it did, in a transaction of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from confluent_kafka import TopicPartition

from ader_stream.errors import DecodeError
from ader_stream.stream.kafka.changelog import checked, offset_range
from ader_stream.stream.kafka.clients import READ_MESSAGES, KafkaClients
from ader_stream.stream.kafka.codec import decode, encode
from ader_stream.stream.kafka.notices import NoticeWriter
from ader_stream.stream.kafka.tail import TailReader
from ader_stream.stream.kafka.topics import Topics

TELL_SECONDS = 1.0
"""A partition's stream time is told at most so often."""


class WatermarkHints:
    """Tells the stream times of our partitions, and hears those of all.

    What was last heard of a partition counts: a stream time that was wrong and is corrected does
    not stay.
    """

    def __init__(
        self, clients: KafkaClients, topics: Topics, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._heard: dict[bytes | None, int] = {}  # partition, as the key says it → stream time
        self._topic = topics.watermarks
        self._clock = clock
        self._told: dict[int, tuple[int, float]] = {}  # partition → stream time, and when
        self._producer = NoticeWriter(clients)
        self._reader = TailReader(clients, committed=False)
        first, _ = offset_range(clients, self._topic, 0)
        self._reader.follow([TopicPartition(self._topic, 0, first)])

    def tell(self, partition: int, stream_time: int) -> None:
        """Tell the others how far a partition of ours has come, where that is news."""
        told, at = self._told.get(partition, (None, -TELL_SECONDS))
        now = self._clock()
        if stream_time != told and now - at >= TELL_SECONDS:
            value, headers = encode("Watermark", {"stream_time": stream_time})
            self._producer.write(self._topic, str(partition), value, headers)
            self._told[partition] = stream_time, now
        self._producer.poll()

    def hear(self) -> None:
        """Take in what has been told since the last call. Does not wait."""
        for record in checked(self._reader.consume(READ_MESSAGES, 0)):
            try:
                _, value = decode(record.value(), record.headers())
            except DecodeError:  # a hint that cannot be read is none
                continue
            self._heard[record.key()] = int(value["stream_time"])

    def highest(self, limit: int) -> int | None:
        """Return the highest stream time (ms) of any partition; those beyond `limit` are wrong."""
        return max((time for time in self._heard.values() if time <= limit), default=None)

    def close(self) -> None:
        """Stop hearing."""
        self._reader.close()
