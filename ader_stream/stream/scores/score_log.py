"""Records of the scores topic: running prequential counts by block, version and input partition.

For each input partition there is also the place up to which they count: a transaction that changes
the counts writes both.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from ader_stream.stream.avro.codec import Headers, decode, encode, type_of
from ader_stream.stream.kafka.clients import KafkaClients
from ader_stream.stream.kafka.reading import read_to_end
from ader_stream.stream.scores.paired_log import PAIRED, Running, decode_paired
from ader_stream.types import Counts

SCORE = "Score"
PLACE = "ScorePlace"
"""Types of the topic's records; there may be others."""


class ScoreKey(NamedTuple):
    """Key of a running count; version None: clicks that no version scored."""

    block: int
    version: int | None
    partition: int


class Score(NamedTuple):
    """Number of clicks, and the counts of their scores."""

    clicks: int = 0
    counts: Counts = Counts()

    def plus(self, clicks: int, counts: Counts) -> Score:
        """Return the sum."""
        return Score(self.clicks + clicks, self.counts + counts)


class ScorePlace(NamedTuple):
    """Up to which click of a partition its scores count.

    Parameters
    ----------
    next_offset
        Offset of the next click.
    topic_id
        Kafka's id of the clicks topic.
    prefixes
        Result of `PrefixFollower.metadata`.
    skipped
        Number of records that were never read, because retention had deleted them.
    """

    next_offset: int
    topic_id: str = ""
    prefixes: str = ""
    skipped: int = 0


@dataclass
class PartitionScores:
    """The topic's records of one input partition; place None: before the first commit."""

    scores: dict[ScoreKey, Score] = field(default_factory=dict)
    paired: Running = field(default_factory=dict)
    place: ScorePlace | None = None


def encode_score(key: ScoreKey, score: Score) -> tuple[str, bytes, Headers]:
    """Return key, value and headers of a score's record."""
    version = "none" if key.version is None else key.version
    value, headers = encode(SCORE, key._asdict() | {"clicks": score.clicks} | asdict(score.counts))
    return f"{key.block}/{version}/{key.partition}", value, headers


def decode_score(value: Mapping[str, Any]) -> tuple[ScoreKey, Score]:
    """Return the key and the running counts in a Score's value."""
    fields = dict(value)
    key = ScoreKey(fields.pop("block"), fields.pop("version"), fields.pop("partition"))
    return key, Score(fields.pop("clicks"), Counts(**fields))


def encode_place(partition: int, place: ScorePlace) -> tuple[str, bytes, Headers]:
    """Return key, value and headers of a place's record."""
    value, headers = encode(PLACE, {"partition": partition} | place._asdict())
    return f"place/{partition}", value, headers


def decode_place(value: Mapping[str, Any]) -> tuple[int, ScorePlace]:
    """Return the partition and the place in a ScorePlace's value."""
    fields = dict(value)
    return fields.pop("partition"), ScorePlace(**fields)


def read_scores(clients: KafkaClients, topic: str) -> Iterator[tuple[ScoreKey, Score]]:
    """Yield every committed score, older ones of a key before newer ones."""
    for record in read_to_end(clients, topic):
        if type_of(record.headers()) == SCORE:
            yield decode_score(decode(record.value(), record.headers())[1])


def read_partitions(
    clients: KafkaClients, topic: str, between: Callable[[], None] = lambda: None
) -> defaultdict[int, PartitionScores]:
    """Return the topic's records of each input partition; call `between` for each record."""
    found = defaultdict[int, PartitionScores](PartitionScores)
    for record in read_to_end(clients, topic):
        between()
        if (kind := type_of(record.headers())) == SCORE:
            key, score = decode_score(decode(record.value(), record.headers())[1])
            found[key.partition].scores[key] = score
        elif kind == PAIRED:
            paired_key, counts = decode_paired(record)
            found[paired_key.partition].paired[paired_key] = counts
        elif kind == PLACE:
            partition, place = decode_place(decode(record.value(), record.headers())[1])
            found[partition].place = place
    return found
