"""Records of the scores topic for two versions that are compared on the same clicks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ader_stream.paired import Pair, PairedCounts, Sums
from ader_stream.stream.avro.codec import Headers, decode, encode, type_of
from ader_stream.stream.kafka.clients import KafkaClients
from ader_stream.stream.kafka.follower import LogFollower
from ader_stream.stream.kafka.reading import read_to_end
from ader_stream.stream.kafka.records import Record

PAIRED = "PairedScore"


class PairedKey(NamedTuple):
    """Key of running sums."""

    block: int
    stable: int
    canary: int
    partition: int

    @property
    def pair(self) -> Pair:
        """Return the two versions."""
        return Pair(self.stable, self.canary)


Running = dict[PairedKey, PairedCounts]


def encode_paired(key: PairedKey, counts: PairedCounts) -> tuple[str, bytes, Headers]:
    """Return key, value and headers of a record."""
    differences = [group._asdict() for group in counts.differences]
    sums = counts.stable._asdict() | {"differences": differences}
    value, headers = encode(PAIRED, key._asdict() | sums)
    return f"pair/{'/'.join(map(str, key))}", value, headers


def decode_paired(record: Record) -> tuple[PairedKey, PairedCounts]:
    """Return the key and the running sums in a record; raises DecodeError."""
    _, value = decode(record.value(), record.headers())
    key = PairedKey(**{name: value[name] for name in PairedKey._fields})
    return key, PairedCounts(_sums(value), tuple(map(_sums, value["differences"])))


def _sums(value: Mapping[str, Any]) -> Sums:
    return Sums(**{name: value[name] for name in Sums._fields})


def read_paired(clients: KafkaClients, topic: str) -> dict[Pair, PairedCounts]:
    """Return the sums of every two versions that were ever compared, over blocks and partitions."""
    running = dict(
        decode_paired(record)
        for record in read_to_end(clients, topic)
        if type_of(record.headers()) == PAIRED
    )
    return {pair: sum_of(running, pair) for pair in sorted({key.pair for key in running})}


def sum_of(running: Running, pair: Pair) -> PairedCounts:
    """Return the sums of two versions over blocks and partitions."""
    return _total(counts for key, counts in running.items() if key.pair == pair)


def _total(counts: Iterable[PairedCounts]) -> PairedCounts:
    return sum(counts, PairedCounts())


class PairedFollower:
    """Follow the sums of two versions over all partitions. Never waits for a record.

    Attributes
    ----------
    pair
        The two; None while it reads nothing.
    """

    def __init__(self, clients: KafkaClients, topic: str) -> None:
        self._clients = clients
        self._topic = topic
        self._follower: LogFollower | None = None
        self._has_new = False
        self._running: Running = {}
        self.pair: Pair | None = None

    def follow(self, pair: Pair | None) -> None:
        """Follow two versions from the topic's beginning; None stops it."""
        if pair == self.pair:
            return
        self.close()
        self.pair = pair
        if pair:
            self._follower = LogFollower(self._clients, {self._topic: self._take})
            self._follower.follow_from_first(self._topic)

    def poll(self) -> bool:
        """Take what has arrived; return whether any of it is of the two versions."""
        self._has_new = False
        if self._follower:
            self._follower.poll()
        return self._has_new

    @property
    def counts(self) -> PairedCounts:
        """Return the sums so far."""
        return _total(self._running.values())

    def close(self) -> None:
        """Stop following."""
        if self._follower:
            self._follower.close()
        self._follower, self.pair, self._running = None, None, {}

    def _take(self, record: Record) -> None:
        if type_of(record.headers()) != PAIRED:
            return
        key, counts = decode_paired(record)
        if key.pair == self.pair:
            self._running[key] = counts
            self._has_new = True
