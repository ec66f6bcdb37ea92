"""The scores topic: running prequential counts by block, version and input partition."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any, NamedTuple

from ader_stream.stream.kafka.changelog import read_to_end
from ader_stream.stream.kafka.clients import KafkaClients
from ader_stream.stream.kafka.codec import Headers, decode, encode, type_of
from ader_stream.types import Counts

SCORE = "Score"
"""Type of a score's record; the topic may hold others."""


class ScoreKey(NamedTuple):
    """What a running count belongs to; version None: clicks that nothing scored."""

    block: int
    version: int | None
    partition: int


class Score(NamedTuple):
    """Clicks seen, and what scoring them gave."""

    clicks: int = 0
    counts: Counts = Counts()

    def plus(self, clicks: int, counts: Counts) -> Score:
        """The sum."""
        return Score(self.clicks + clicks, self.counts + counts)


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


def scores_by_partition(
    clients: KafkaClients, topic: str, between: Callable[[], None] = lambda: None
) -> defaultdict[int, dict[ScoreKey, Score]]:
    """Return the running scores of every input partition; `between` is called for each record."""
    found = defaultdict[int, dict[ScoreKey, Score]](dict)
    for key, score in read_scores(clients, topic):
        between()
        found[key.partition][key] = score
    return found


def read_scores(clients: KafkaClients, topic: str) -> Iterator[tuple[ScoreKey, Score]]:
    """Yield every committed score, older ones of a key before newer ones."""
    for record in read_to_end(clients, topic):
        if type_of(record.headers()) == SCORE:
            yield decode_score(decode(record.value(), record.headers())[1])
