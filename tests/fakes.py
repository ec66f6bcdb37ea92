"""Stand-ins for Kafka: records, and a cluster in memory that keeps what was committed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from confluent_kafka import (
    TIMESTAMP_CREATE_TIME,
    TIMESTAMP_NOT_AVAILABLE,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import ConfigResource, OffsetSpec

from ader_stream.artifact import KINDS, content_digest, sha256
from ader_stream.stream.avro.codec import load_schema
from ader_stream.stream.avro.plain import from_plain, to_plain
from ader_stream.stream.kafka.clients import MAX_RECORD_BYTES
from ader_stream.stream.model_registry.manifest import FORMAT, GateReport, Manifest

Headers = Sequence[tuple[str, bytes | None]]

DEFAULTS = {
    "cleanup.policy": "delete",
    "max.message.bytes": "1048588",
    "message.timestamp.type": "CreateTime",
    "retention.bytes": "-1",
    "retention.ms": "604800000",
    "transaction.max.timeout.ms": "900000",
}
"""What a topic and a broker are configured with where nothing else is said."""

BATCH_HEADER_BYTES = 61

EARLIEST, NEWEST = -2, -3
"""Of `OffsetSpec`: the first offset, and that of the newest timestamp."""


def stamp(timestamp: int) -> tuple[int, int]:
    """Kind and time of a record's timestamp; below 0: it has none."""
    return (TIMESTAMP_NOT_AVAILABLE if timestamp < 0 else TIMESTAMP_CREATE_TIME), timestamp


class FakeRecord:
    """Implements `Record`, and the error that a consumer hands out in a record's place."""

    def __init__(
        self,
        value: bytes | None = None,
        key: bytes | None = None,
        *,
        headers: Headers | None = None,
        topic: str = "ader.clicks",
        partition: int = 0,
        offset: int = 0,
        timestamp: int = -1,
        error: KafkaError | None = None,
    ) -> None:
        self._fields = (topic, partition, offset, key, value, headers, stamp(timestamp), error)

    def topic(self) -> str:
        return self._fields[0]

    def partition(self) -> int:
        return self._fields[1]

    def offset(self) -> int:
        return self._fields[2]

    def key(self) -> bytes | None:
        return self._fields[3]

    def value(self) -> bytes | None:
        return self._fields[4]

    def headers(self) -> Headers | None:
        return self._fields[5]

    def timestamp(self) -> tuple[int, int]:
        return self._fields[6]

    def error(self) -> KafkaError | None:
        return self._fields[7]


TopicAndPartition = tuple[str, int]


@dataclass
class FakeKafka:
    """Committed records in memory; stands in for `KafkaClients`.

    Parameters
    ----------
    partitions
        Topic → number of its partitions.
    topic_ids
        Topic → what Kafka knows it by, where that is not its name.
    """

    partitions: dict[str, int] = field(default_factory=dict)
    log: defaultdict[TopicAndPartition, list[FakeRecord | None]] = field(
        default_factory=lambda: defaultdict(list)
    )
    topic_ids: dict[str, str] = field(default_factory=dict)
    trimmed: dict[TopicAndPartition, int] = field(default_factory=dict)
    properties: dict[str, str] = field(default_factory=dict)
    max_record_bytes: int = MAX_RECORD_BYTES
    producers: list[FakeProducer] = field(default_factory=list)
    transaction_timeout: int = 10_000
    committed: dict[tuple[str, TopicAndPartition], int] = field(default_factory=dict)
    """(group, place) → offset."""
    configs: defaultdict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    """Topic, or number of a broker → properties that differ from the broker's defaults."""
    hidden: set[str] = field(default_factory=set)
    """Topics that the user may not describe."""
    members: dict[str, list[str]] = field(default_factory=dict)
    """Group → hosts of its members."""
    bootstrap_servers: str = "fake:9092"
    group_protocol: str = "classic"
    session_timeout: int = 6_000

    def check_reachable(self) -> None:
        pass

    metadata: dict[tuple[str, TopicAndPartition], str] = field(default_factory=dict)
    """(group, place) → what was committed beside it."""

    def append(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | str | None = None,
        headers: Headers | None = None,
        partition: int = 0,
        timestamp: int = -1,
    ) -> int:
        """Commit a record and return its offset."""
        records = self.log[topic, partition]
        record = FakeRecord(
            value,
            as_bytes(key),
            headers=headers,
            topic=topic,
            partition=partition,
            offset=len(records),
            timestamp=timestamp,
        )
        records.append(record)
        return record.offset()

    def records(self, topic: str, partition: int = 0) -> list[FakeRecord]:
        """Everything that was committed to a partition and is still there."""
        return [record for record in self.log[topic, partition] if record]

    def replace(self, record: FakeRecord, value: bytes | None) -> None:
        """Put other bytes where a record stands."""
        other = FakeRecord(value, record.key(), headers=record.headers(), offset=record.offset())
        self.log[record.topic(), record.partition()][record.offset()] = other

    def remove(self, record: FakeRecord) -> None:
        """Take a record away, as compaction does: the offsets of the others stay."""
        self.log[record.topic(), record.partition()][record.offset()] = None

    def reader(self, *, committed: bool = True, ahead_kib: int = 0) -> FakeReader:
        return FakeReader(self)

    def group_consumer(self, group: str) -> FakeGroupConsumer:
        return FakeGroupConsumer(self, group)

    def producer(self, transactional_id: str | None = None, **_: object) -> FakeProducer:
        self.producers.append(FakeProducer(self))
        return self.producers[-1]

    def admin(self) -> FakeAdmin:
        return FakeAdmin(self)


@dataclass
class FakeAdmin:
    """Knows the topics and their partitions."""

    kafka: FakeKafka

    def list_topics(self, timeout: float) -> Any:
        one = SimpleNamespace(replicas=[1])
        topics = {
            name: SimpleNamespace(partitions=dict.fromkeys(range(count), one))
            for name, count in self.kafka.partitions.items()
            if name not in self.kafka.hidden
        }
        return SimpleNamespace(topics=topics, brokers={1: None})

    def list_offsets(
        self, asked: Mapping[TopicPartition, OffsetSpec], **_: object
    ) -> dict[TopicPartition, Future[Any]]:
        return {at: self._offset(at, spec._value) for at, spec in asked.items()}

    def _offset(self, at: TopicPartition, which: int) -> Future[Any]:
        found, place = Future[Any](), (at.topic, at.partition)
        first, end = self.kafka.trimmed.get(place, 0), len(self.kafka.log[place])
        stamps = [record.timestamp()[1] for record in self.kafka.records(*place)]
        newest = max(stamps, default=-1) if which == NEWEST else -1
        offset = first if which == EARLIEST else end
        found.set_result(SimpleNamespace(offset=offset, timestamp=newest))
        return found

    def describe_consumer_groups(self, groups: Sequence[str]) -> dict[str, Future[Any]]:
        return {group: self._group(group) for group in groups}

    def _group(self, name: str) -> Future[Any]:
        described = Future[Any]()
        hosts = self.kafka.members.get(name, [])
        members = [SimpleNamespace(client_id="worker", host=host) for host in hosts]
        described.set_result(SimpleNamespace(members=members, state=None))
        return described

    def describe_configs(
        self, resources: Sequence[ConfigResource]
    ) -> dict[ConfigResource, Future[Any]]:
        return {resource: self._config(resource.name) for resource in resources}

    def _config(self, name: str) -> Future[Any]:
        found: Future[Any] = Future()
        properties = DEFAULTS | self.kafka.configs[name]
        found.set_result({name: SimpleNamespace(value=properties[name]) for name in properties})
        return found

    def describe_topics(
        self,
        topics: TopicCollection,
        request_timeout: float = 1.0,
        include_authorized_operations: bool = False,
    ) -> dict[str, Future[Any]]:
        described: Future[Any] = Future()
        [name] = topics.topic_names
        if name in self.kafka.hidden:
            refusal = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)
            described.set_exception(KafkaException(refusal))
            return {name: described}
        described.set_result(
            SimpleNamespace(
                topic_id=self.kafka.topic_ids.get(name, name),
                partitions=range(self.kafka.partitions.get(name, 1)),
                authorized_operations=None,
            )
        )
        return {name: described}

    def delete_records(self, places: Sequence[TopicPartition]) -> dict[TopicPartition, Future[Any]]:
        done: Future[Any] = Future()
        done.set_result(None)
        self.kafka.trimmed |= {(at.topic, at.partition): at.offset for at in places}
        return dict.fromkeys(places, done)


class FakeReader:
    """A consumer without a group; says where a partition ends, as ours is configured to."""

    def __init__(self, kafka: FakeKafka) -> None:
        self._kafka = kafka
        self._positions: dict[TopicAndPartition, int] = {}
        self._at_end: set[TopicAndPartition] = set()

    def get_watermark_offsets(
        self, where: TopicPartition, timeout: float = 0.0, *, cached: bool = False
    ) -> tuple[int, int]:
        place = (where.topic, where.partition)
        return self._kafka.trimmed.get(place, 0), len(self._kafka.log[place])

    def assign(self, places: Sequence[TopicPartition]) -> None:
        self._positions = {(at.topic, at.partition): at.offset for at in places}

    def incremental_assign(self, places: Sequence[TopicPartition]) -> None:
        self._positions |= {(at.topic, at.partition): at.offset for at in places}

    def incremental_unassign(self, places: Sequence[TopicPartition]) -> None:
        for at in places:
            del self._positions[at.topic, at.partition]
            self._at_end.discard((at.topic, at.partition))

    def list_topics(self, topic: str, timeout: float) -> Any:
        partitions = range(self._kafka.partitions[topic])
        return SimpleNamespace(topics={topic: SimpleNamespace(partitions=partitions)})

    def consume(self, count: int, timeout: float) -> list[FakeRecord]:
        found: list[FakeRecord] = []
        for place in self._positions:
            found += self._read(place, max(0, count - len(found)))
        return found

    def close(self) -> None:
        self._positions.clear()

    def _read(self, place: TopicAndPartition, count: int) -> list[FakeRecord]:
        position, records = self._positions[place], self._kafka.log[place]
        if position < self._kafka.trimmed.get(place, 0):
            return [_problem(place, position, KafkaError._AUTO_OFFSET_RESET)]
        end = min(position + count, len(records))
        self._positions[place] = end
        if position < len(records):
            self._at_end.discard(place)
            return [record for record in records[position:end] if record]
        if place in self._at_end:
            return []
        self._at_end.add(place)
        return [_problem(place, position, KafkaError._PARTITION_EOF)]


@dataclass
class FakeGroupConsumer:
    """Knows what its group has committed; joins nothing."""

    kafka: FakeKafka
    group: str

    def committed(self, places: Sequence[TopicPartition], timeout: float) -> list[TopicPartition]:
        return [self._committed(at.topic, at.partition) for at in places]

    def _committed(self, topic: str, partition: int) -> TopicPartition:
        place = self.group, (topic, partition)
        offset, metadata = self.kafka.committed.get(place, -1001), self.kafka.metadata.get(place)
        if metadata is None:
            return TopicPartition(topic, partition, offset)
        return TopicPartition(topic, partition, offset, metadata)

    def close(self) -> None:
        pass


def _problem(place: TopicAndPartition, offset: int, code: int) -> FakeRecord:
    return FakeRecord(topic=place[0], partition=place[1], offset=offset, error=KafkaError(code))


@dataclass
class FakeProducer:
    """A producer whose transactions reach the log when they are committed.

    Parameters
    ----------
    failures
        Errors of the commits, by number from 0.
    refusal
        What a producer without transactions is told instead of a delivery.
    room
        Records that fit into its queue.
    undelivered
        Flushes after which nothing was delivered.
    committed
        Records of each transaction that was committed.
    abort_failure
        What aborting comes to.
    is_settled
        It was lost, and nothing of it is on its way.
    """

    kafka: FakeKafka
    failures: dict[int, KafkaError] = field(default_factory=dict)
    refusal: KafkaError | None = None
    room: int = 1_000_000
    undelivered: int = 0
    committed: list[int] = field(default_factory=list)
    abort_failure: KafkaError | None = None
    is_settled: bool = False
    _is_lost: bool = False
    _commits: int = 0
    _queue: list[tuple[Any, ...]] = field(default_factory=list)
    _sent: list[tuple[Any, ...]] = field(default_factory=list)
    _is_open: bool = False
    _reported: int = 0

    def __bool__(self) -> bool:
        return True

    def __len__(self) -> int:
        """Records that wait, and what is on its way until somebody has waited for it."""
        return len(self._queue) + (not self.is_settled)

    def init_transactions(self, timeout: float) -> None:
        pass

    def begin_transaction(self) -> None:
        assert not self._queue
        assert not self._sent
        self._is_open, self._reported = True, 0

    def produce(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | str | None,
        partition: int,
        callback: None = None,
        on_delivery: Callable[[None, FakeRecord], None] | None = None,
        timestamp: int = 0,
        headers: Headers | None = None,
    ) -> None:
        if len(self._queue) == self.room:
            raise BufferError
        limit = int(self.kafka.configs[topic].get("max.message.bytes", MAX_RECORD_BYTES))
        if record_bytes(value, key, headers) > limit:
            raise KafkaException(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE))
        record = (topic, value, key, headers, partition, timestamp or -1)
        self._queue.append((*record, on_delivery))

    def poll(self, timeout: float) -> None:
        self._sent += self._queue
        self._queue.clear()

    def commit_transaction(self, timeout: float) -> None:
        self.poll(0)
        self._commits += 1
        if failure := self.failures.get(self._commits - 1):
            raise KafkaException(failure)
        self._tell()
        self.committed.append(len(self._sent))
        for *record, _ in self._sent:
            self.kafka.append(*record)
        self._sent.clear()
        self._is_open, self._reported = False, 0

    def flush(self, timeout: float) -> int:
        """Deliver what is queued; what is in an open transaction stays unseen."""
        if self._is_lost:
            self.is_settled = True
        elif self.undelivered:
            self.undelivered -= 1
        elif self._is_open:
            self.poll(0)
            self._tell()
        elif self.refusal is None:
            self.commit_transaction(timeout)
        else:
            self.poll(0)
            for *_, on_delivery in self._sent:
                on_delivery(self.refusal, None)
            self._sent.clear()
        return 0

    def purge(self, *, in_flight: bool) -> None:
        assert not in_flight, "whose answers would come later"
        self._queue.clear()
        self._is_lost = True

    def abort_transaction(self, timeout: float) -> None:
        if self.abort_failure:
            raise KafkaException(self.abort_failure)
        self._queue.clear()
        self._sent.clear()
        self._is_open = False

    def _tell(self) -> None:
        """Report deliveries, with the offsets that the records are going to have."""
        ends: Counter[TopicAndPartition] = Counter()
        for number, (topic, value, key, headers, partition, _, on_delivery) in enumerate(
            self._sent
        ):
            offset = len(self.kafka.log[topic, partition]) + ends[topic, partition]
            ends[topic, partition] += 1
            if on_delivery and number >= self._reported:
                where = {"topic": topic, "partition": partition, "offset": offset}
                on_delivery(None, FakeRecord(value, as_bytes(key), headers=headers, **where))
        self._reported = len(self._sent)


def record_bytes(
    value: bytes | None, key: bytes | str | None, headers: Headers | None = None
) -> int:
    """What a broker compares with max.message.bytes, of a batch of one record, at least."""
    named = sum(len(name.encode()) + len(data or b"") for name, data in headers or ())
    return len(value or b"") + len(as_bytes(key) or b"") + named + BATCH_HEADER_BYTES


class Clock:
    """Seconds that pass when they are told to."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def as_bytes(key: bytes | str | None) -> bytes | None:
    return key.encode() if isinstance(key, str) else key


def example(type_name: str) -> dict[str, Any]:
    """The smallest value of one of our own types: zeros, empty texts and lists, nulls."""
    return smallest(load_schema(type_name))


def smallest(schema: Any) -> Any:
    """The smallest value of an Avro schema; of a union, its first branch's."""
    if isinstance(schema, list):
        return smallest(schema[0])
    if isinstance(schema, str):
        return PRIMITIVES[schema]
    if schema["type"] == "record":
        return {field["name"]: smallest(field["type"]) for field in schema["fields"]}
    return {"array": [], "map": {}}[schema["type"]]


def example_manifest(version: int = 1, **fields: Any) -> Manifest:
    """The smallest manifest of a version; its publisher fills in the parts."""
    previous = version - 1 or None
    chain = {"version": version, "parent": previous, "predecessor": previous}
    own = {"status": "accepted", "blocks": [version - 1]}
    smallest_one = from_plain(Manifest, example("ModelManifest") | chain | own)
    return changed(smallest_one, **fields)


def complete_manifest(version: int = 1, **fields: Any) -> Manifest:
    """A manifest as its publisher has filled it in: each part is one chunk of one byte."""
    parts = [described_part(kind) for kind in KINDS]
    places = [{"kind": kind, "first_offset": 0, "last_offset": 0} for kind in KINDS]
    digest = content_digest({kind: kind.encode() for kind in KINDS})
    whole = example_manifest(
        version, format=FORMAT, parts=parts, digest=digest, run={"places": places}
    )
    return changed(whole, **fields)


def changed(manifest: Manifest, **fields: Any) -> Manifest:
    """A manifest with other fields, as plain values; of a record, the named ones are changed."""
    plain = to_plain(manifest)
    for name in {"report", "run"} & fields.keys():
        fields[name] = plain[name] | fields[name]
    if fields.get("gate"):
        fields["gate"] = to_plain(manifest.gate or GateReport(samples=0)) | fields["gate"]
    return from_plain(Manifest, plain | fields)


def described_part(kind: str) -> dict[str, Any]:
    """What a manifest says of a part of one byte."""
    hashed = sha256(kind.encode())
    return {"kind": kind, "size": 1, "sha256": hashed, "chunks": [{"size": 1, "sha256": hashed}]}


PRIMITIVES = {
    "null": None,
    "boolean": False,
    "int": 0,
    "long": 0,
    "float": 0.0,
    "double": 0.0,
    "bytes": b"",
    "string": "",
}
