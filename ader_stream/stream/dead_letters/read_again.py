"""Refused clicks that the sessionizer reads again after a reset.

A click that it then accepts need not be sent back, and one that it refuses again becomes a new
letter.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice

from ader_stream.stream.dead_letters.letters import Letter, LetterFilter, read_letters
from ader_stream.stream.dead_letters.sending_back import produce_marks, replay_producer
from ader_stream.stream.groups.groups import extents
from ader_stream.stream.kafka.clients import KafkaClients
from ader_stream.stream.topics.topics import Topics, partition_counts

MARKED_AT_ONCE = 10_000
"""Letters of one transaction: only their offsets are written."""


@dataclass(frozen=True)
class LettersReadAgain:
    """Letters whose clicks are still in the clicks topic.

    Parameters
    ----------
    waiting
        Those that were not sent back.
    sent_back
        Those that were sent back: the topic has their clicks twice.
    """

    waiting: int
    sent_back: int


def count_read_again(clients: KafkaClients, topics: Topics) -> LettersReadAgain:
    """Count the letters whose clicks are read again."""
    sent_back = [letter.is_replayed for letter in _letters(clients, topics, replayed=True)]
    return LettersReadAgain(sent_back.count(False), sent_back.count(True))


def mark_read_again(clients: KafkaClients, topics: Topics) -> None:
    """Mark the letters whose clicks are read again as if they were sent back; stop any replay.

    Raises
    ------
    AuthorizationError
        If the user may not write in the name of a replay.
    AderError
        If a transaction fails; run it again.
    """
    with replay_producer(clients, topics) as producer:
        unmarked = _letters(clients, topics, replayed=False)
        while letters := list(islice(unmarked, MARKED_AT_ONCE)):
            producer.transact(partial(produce_marks, topics=topics, letters=letters))


def _letters(clients: KafkaClients, topics: Topics, *, replayed: bool) -> Iterator[Letter]:
    admin, clicks = clients.admin(), topics.clicks
    logs = extents(admin, clicks, range(partition_counts(admin)[clicks]))
    for letter in read_letters(clients, topics, LetterFilter(replayed=replayed)):
        log = logs.get(letter.partition())
        if letter.topic() == clicks and log and log.first <= letter.offset() < log.end:
            yield letter
