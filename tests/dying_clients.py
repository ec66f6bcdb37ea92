"""Kafka clients that come to a fatal error in a given call, and behave as librdkafka's do then.

The call that meets the error raises it. Afterwards transactional requests raise it each time,
`produce` raises `_FATAL`, which is not marked as fatal, and whatever serves callbacks (`poll`,
`flush`, `purge`, `close`) may raise it once more: that was seen as a fenced producer came to rest.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from tests.fakes import FakeKafka, FakeProducer, FakeReader, FakeRecord

FENCED = KafkaError(KafkaError._FENCED, "fenced by another", fatal=True)
ABORTED = KafkaError(KafkaError._TIMED_OUT, "commit timed out", txn_requires_abort=True)
"""What comes before an abort."""

TRANSACTIONAL = ("init", "begin", "send_offsets", "commit", "abort")
ON_THE_WAY_OUT = ("", "poll", "purge", "flush", "close")


@dataclass
class Death:
    """Where a client dies: in the `dies_in` call, and it says so again in `says_again_in`."""

    dies_in: str
    says_again_in: str = ""
    has_come: bool = False

    def meet(self, call: str) -> None:
        """Raise what a call raises."""
        if call == self.dies_in or (self.has_come and call in TRANSACTIONAL):
            self.dies_in, self.has_come = "", True
            raise KafkaException(FENCED)
        if self.has_come and call == "produce":
            raise KafkaException(KafkaError(KafkaError._FATAL, "cannot produce"))
        if self.has_come and call == self.says_again_in:
            self.says_again_in = ""
            raise KafkaException(FENCED)


@dataclass
class DyingKafka(FakeKafka):
    """A cluster of which the next producers, readers and members die.

    Parameters
    ----------
    producer_deaths, reader_deaths, member_deaths
        Of those made next, the first of each first; later ones live.
    room
        Records that fit into a producer's queue.
    offsets
        Partition → the next offset that the group has committed.
    moves
        Whether a member loses its partition, and gets it back, in the second round of reading it.
    members
        Clients that have joined the group.
    """

    producer_deaths: deque[Death] = field(default_factory=deque)
    reader_deaths: deque[Death] = field(default_factory=deque)
    member_deaths: deque[Death] = field(default_factory=deque)
    room: int = 1_000_000
    offsets: dict[int, int] = field(default_factory=dict)
    moves: bool = False
    members: int = 0

    def producer(self, transactional_id: str | None = None, **_: object) -> FakeProducer:
        death = _next(self.producer_deaths)
        failures = {0: ABORTED} if death.dies_in == "abort" else {}
        producer = DyingProducer(self, failures, room=self.room, death=death)
        self.producers.append(producer)
        return producer

    def reader(self, **_: object) -> FakeReader:
        return DyingReader(self, _next(self.reader_deaths))

    def group_consumer(self, group: str) -> Any:
        return DyingMember(self, _next(self.member_deaths))


def _next(deaths: deque[Death]) -> Death:
    return deaths.popleft() if deaths else Death("")


@dataclass
class DyingProducer(FakeProducer):
    """A producer that dies; it commits the offsets of the group, too."""

    death: Death = field(default_factory=lambda: Death(""))
    _offsets: dict[int, int] = field(default_factory=dict)

    def init_transactions(self, timeout: float) -> None:
        self.death.meet("init")

    def begin_transaction(self) -> None:
        self.death.meet("begin")
        super().begin_transaction()

    def produce(self, *arguments: Any, **named: Any) -> None:
        self.death.meet("produce")
        super().produce(*arguments, **named)

    def poll(self, timeout: float) -> None:
        self.death.meet("poll")
        super().poll(timeout)

    def flush(self, timeout: float) -> int:
        self.death.meet("flush")
        return super().flush(timeout)

    def purge(self, *, in_flight: bool) -> None:
        self.death.meet("purge")
        super().purge(in_flight=in_flight)

    def send_offsets_to_transaction(
        self, offsets: Sequence[TopicPartition], group: object, timeout: float
    ) -> None:
        self.death.meet("send_offsets")
        self._offsets = {place.partition: place.offset for place in offsets}

    def commit_transaction(self, timeout: float) -> None:
        self.death.meet("commit")
        super().commit_transaction(timeout)
        self.kafka.offsets |= self._offsets

    def abort_transaction(self, timeout: float) -> None:
        self.death.meet("abort")
        super().abort_transaction(timeout)


class DyingReader(FakeReader):
    """A reader that dies."""

    def __init__(self, kafka: FakeKafka, death: Death) -> None:
        super().__init__(kafka)
        self._death = death

    def consume(self, count: int, timeout: float) -> list[FakeRecord]:
        self._death.meet("consume")
        return super().consume(count, timeout)

    def close(self) -> None:
        self._death.meet("close")
        super().close()


class DyingMember(DyingReader):
    """A group's only member: the first round brings partition 0 of ``clicks``."""

    def __init__(self, kafka: DyingKafka, death: Death) -> None:
        super().__init__(kafka, death)
        self._rounds = 0  # of reading its partition
        self._is_new = True
        self._given: list[TopicPartition] = []

    def subscribe(self, _: list[str], **callbacks: Callable[..., None]) -> None:
        self._on_assign, self._on_revoke = callbacks["on_assign"], callbacks["on_revoke"]
        self._given = [TopicPartition("clicks", 0)]
        self._kafka.members += 1

    def consume(self, count: int, timeout: float) -> list[FakeRecord]:
        self._rounds += bool(self._positions)
        moves = self._kafka.moves and self._rounds == 2
        if moves:
            self._rounds += 1
            self._on_revoke(self, self._given)
        if moves or self._is_new:
            self._is_new = False
            self._on_assign(self, self._given)
        time.sleep(0.001)  # others need the time, too
        return super().consume(count, timeout)

    def committed(self, places: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        self._death.meet("committed")
        offsets = self._kafka.offsets
        return [TopicPartition(p.topic, p.partition, offsets.get(p.partition, -1)) for p in places]

    def consumer_group_metadata(self) -> str:
        self._death.meet("group")
        return "group"

    def get_watermark_offsets(self, where: TopicPartition, **_: object) -> tuple[int, int]:
        return super().get_watermark_offsets(where, 0)

    def assignment(self) -> list[TopicPartition]:
        self._death.meet("assignment")
        return [TopicPartition(*place) for place in self._positions]

    def incremental_assign(self, places: Sequence[TopicPartition]) -> None:
        self._death.meet("assign")
        super().incremental_assign(places)

    def incremental_unassign(self, places: Sequence[TopicPartition]) -> None:
        self._death.meet("unassign")
        super().incremental_unassign(places)

    def close(self) -> None:
        if self._given:
            self._on_revoke(self, self._given)
        super().close()
