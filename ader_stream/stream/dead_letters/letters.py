"""Read the dead-letters topic: refused records, and which of them were sent back.

A partition has DeadLetter records and, after them, Replayed: the offsets of the letters that were
sent back. Each Replayed is written in one transaction with the clicks that it names, so that a
letter is sent back once, even if a process dies.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from ader_stream.errors import InputError
from ader_stream.stream.avro.codec import TYPE_HEADER, Headers, decode
from ader_stream.stream.clicks.elements import ELEMENTS_HEADER, header_of
from ader_stream.stream.kafka.clients import KafkaClients
from ader_stream.stream.kafka.reading import offset_range, read_range, read_to_end
from ader_stream.stream.kafka.records import Record
from ader_stream.stream.topics.topics import Topics, check_topics

LETTER_TYPE = "DeadLetter"
REPLAYED_TYPE = "Replayed"


class LetterId(NamedTuple):
    """A letter's id: its position in the dead-letters topic.

    >>> str(LetterId.parse("2:41"))
    '2:41'
    """

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}:{self.offset}"

    @classmethod
    def parse(cls, text: str) -> LetterId:
        """Read ``PARTITION:OFFSET``.

        Raises
        ------
        InputError
            If the text has another form.
        """
        partition, colon, offset = text.partition(":")
        if not (colon and partition.isdecimal() and offset.isdecimal()):
            raise InputError(f"{text!r}: expected PARTITION:OFFSET as `list` shows it, like 2:41")
        return cls(int(partition), int(offset))


@dataclass(frozen=True)
class Letter:
    """A refused record. It is a `Record`: the decoder of the original can decode it.

    Parameters
    ----------
    id
        Its position in the dead-letters topic.
    refused_at
        When it was refused, ms since 1970.
    fields
        The value of its DeadLetter.
    is_replayed
        Whether it was sent back.
    """

    id: LetterId
    refused_at: int
    fields: Mapping[str, Any]
    is_replayed: bool

    @property
    def reason(self) -> str:
        """Return why it was refused."""
        return str(self.fields["reason"])

    @property
    def truncated(self) -> Mapping[str, Any] | None:
        """Return the sizes of the original if the letter has only its first bytes (Truncated)."""
        truncated: Mapping[str, Any] | None = self.fields["truncated"]
        return truncated

    @property
    def origin(self) -> str:
        """Return the position of the original: ``TOPIC/PARTITION@OFFSET``."""
        return f"{self.topic()}/{self.partition()}@{self.offset()}"

    def topic(self) -> str:
        """Return the topic of the original."""
        return str(self.fields["topic"])

    def partition(self) -> int:
        """Return the partition of the original."""
        return int(self.fields["partition"])

    def offset(self) -> int:
        """Return the offset of the original."""
        return int(self.fields["offset"])

    def key(self) -> bytes | None:
        """Return the key of the original."""
        key: bytes | None = self.fields["key"]
        return key

    def value(self) -> bytes | None:
        """Return the value of the original."""
        value: bytes | None = self.fields["value"]
        return value

    def headers(self) -> Headers:
        """Return the headers of the original, and which of its clicks were refused.

        If a record holds many clicks, only those are read when it is sent back.
        """
        headers = [(header["name"], header["value"]) for header in self.fields["headers"]]
        if elements := self.fields["elements"]:
            others = [header for header in headers if header[0] != ELEMENTS_HEADER]
            return [*others, header_of(elements)]
        return headers

    def timestamp(self) -> tuple[int, int]:
        """Return the kind of timestamp (not stored), and the original's ms since 1970."""
        return 0, int(self.fields["timestamp"])


@dataclass(frozen=True)
class LetterFilter:
    """Which letters to select; all of them by default.

    Parameters
    ----------
    reasons
        Any of these; empty for every reason.
    partition
        Of the original, and of the letter.
    since, until
        Refused at or after, and before, ms since 1970.
    replayed
        False: only those that were not sent back; True: those too.
    """

    reasons: Collection[str] = ()
    partition: int | None = None
    since: int | None = None
    until: int | None = None
    replayed: bool = False

    def takes(self, letter: Letter) -> bool:
        """Return whether a letter is selected."""
        return (
            (not self.reasons or letter.reason in self.reasons)
            and (self.since is None or letter.refused_at >= self.since)
            and (self.until is None or letter.refused_at < self.until)
            and (self.replayed or not letter.is_replayed)
        )


def read_letters(clients: KafkaClients, topics: Topics, wanted: LetterFilter) -> Iterator[Letter]:
    """Yield the selected letters, partition by partition, oldest first."""
    count = check_topics(clients.admin(), topics)
    partitions = range(count) if wanted.partition is None else [wanted.partition]
    for partition in partitions:
        if partition >= count:
            raise InputError(f"partition {partition}: {topics.dead_letters} has {count}, from 0 on")
        yield from filter(wanted.takes, _read_partition(clients, topics.dead_letters, partition))


def find_letter(clients: KafkaClients, topics: Topics, letter_id: LetterId) -> Letter:
    """Return the letter of an id.

    Raises
    ------
    InputError
        If there is none.
    """
    count = check_topics(clients.admin(), topics)
    topic, (partition, offset) = topics.dead_letters, letter_id
    first, end = offset_range(clients, topic, partition) if partition < count else (0, 0)
    if first <= offset < end:
        for record in read_range(clients, topic, partition, offset, offset + 1):
            if _type_of(record) == LETTER_TYPE:
                return _letter(record, replayed_offsets(clients, topic, partition))
    raise InputError(
        f"{letter_id}: no dead letter there; `ader-stream dead-letters list` shows them"
    )


def replayed_offsets(clients: KafkaClients, topic: str, partition: int) -> set[int]:
    """Return the offsets of a partition's letters that were sent back."""
    return {
        offset
        for record in read_to_end(clients, topic, partition)
        if _type_of(record) == REPLAYED_TYPE
        for offset in decode(record.value(), record.headers())[1]["offsets"]
    }


def is_letter(record: Record) -> bool:
    """Return whether a record of the dead-letters topic is a letter."""
    return _type_of(record) == LETTER_TYPE


def _read_partition(clients: KafkaClients, topic: str, partition: int) -> Iterator[Letter]:
    # Read twice: the record that marks a letter as sent back is after the letter, and all letters
    # at once may not fit into memory.
    replayed = replayed_offsets(clients, topic, partition)
    for record in read_to_end(clients, topic, partition):
        if is_letter(record):
            yield _letter(record, replayed)


def _letter(record: Record, replayed: set[int]) -> Letter:
    letter_id = LetterId(record.partition(), record.offset())
    _, fields = decode(record.value(), record.headers())
    return Letter(letter_id, record.timestamp()[1], fields, letter_id.offset in replayed)


def _type_of(record: Record) -> str:
    return (dict(record.headers() or ()).get(TYPE_HEADER) or b"").decode(errors="replace")
