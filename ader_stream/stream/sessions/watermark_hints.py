"""Exchange stream times between partitions, for those that are idle.

Stream times are written to the topic `watermarks`, outside transactions: they are hints. A worker
that follows one logs that in a transaction of its own.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from ader_stream.errors import DecodeError
from ader_stream.stream.avro.codec import decode, encode
from ader_stream.stream.kafka.best_effort import BestEffortProducer
from ader_stream.stream.kafka.clients import KafkaClients
from ader_stream.stream.kafka.follower import LogFollower
from ader_stream.stream.kafka.records import Record
from ader_stream.stream.sessions.window import AT_ONCE
from ader_stream.stream.topics.topics import Topics

PUBLISH_SECONDS = 1.0
"""Shortest time between two reports of a partition's stream time."""

LOOKS = 8
"""Number of states that are kept of the last `age` seconds."""


class WatermarkHints:
    """Write the stream times of our partitions, and read those of all.

    The last one of a partition counts: a wrong stream time does not outlast its correction.

    Parameters
    ----------
    age
        Seconds that others must have been ahead before one is followed: clicks that come in batches
        reach one partition before the next.
    clock
        Seconds.
    """

    def __init__(
        self,
        clients: KafkaClients,
        topics: Topics,
        clock: Callable[[], float] = time.monotonic,
        *,
        age: float = 0.0,
    ) -> None:
        self._heard: dict[bytes | None, int] = {}  # partition, as in the key → stream time
        self._age = age
        self._before: deque[tuple[float, dict[bytes | None, int]]] = deque()  # time → state
        self._topic = topics.watermarks
        self._clock = clock
        self._published: dict[
            int, tuple[int, float]
        ] = {}  # partition → published stream time, and when
        self._producer = BestEffortProducer(clients)
        self._follower = LogFollower(clients, {self._topic: self._take}, committed=False)
        self._follower.follow_from_first(self._topic)

    def publish(self, partition: int, stream_time: int) -> None:
        """Write how far a partition of ours has come, if that has changed."""
        published, at = self._published.get(partition, (None, -PUBLISH_SECONDS))
        now = self._clock()
        if stream_time != published and now - at >= PUBLISH_SECONDS:
            value, headers = encode("Watermark", {"stream_time": stream_time})
            self._producer.produce(self._topic, str(partition), value, headers)
            self._published[partition] = stream_time, now
        self._producer.poll()

    def follow(self) -> None:
        """Take what has arrived since the last call. Does not wait."""
        self._follower.poll()
        self._remember()

    def _take(self, record: Record) -> None:
        try:
            _, value = decode(record.value(), record.headers())
        except DecodeError:  # an unreadable hint is ignored
            return
        self._heard[record.key()] = int(value["stream_time"])

    def _remember(self) -> None:
        """Store the current state, and discard states that are older than `age`."""
        now, before = self._clock(), self._before
        if not before or now - before[-1][0] >= self._age / LOOKS:
            before.append((now, self._heard.copy()))
        while len(before) > 1 and now - before[1][0] >= self._age:
            before.popleft()

    def highest(self, limit: int) -> int | None:
        """Return the highest stream time (ms) of any partition; those beyond `limit` are wrong.

        The state of `age` seconds ago counts; there is none before the first.
        """
        if not self._before or self._clock() - self._before[0][0] < self._age:
            return None
        _, then = self._before[0]
        times = (min(time, then.get(key, AT_ONCE)) for key, time in self._heard.items())
        return max((time for time in times if AT_ONCE < time <= limit), default=None)

    def close(self) -> None:
        """Stop reading."""
        self._follower.close()
