"""Read the originals of truncated letters again, as long as the clicks topic has them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ader_stream.stream.dead_letters.letters import Letter
from ader_stream.stream.kafka.clients import KafkaClients
from ader_stream.stream.kafka.reading import offset_range, read_range
from ader_stream.stream.kafka.records import Record, headers_of
from ader_stream.stream.topics.topics import Topics

Fields = Mapping[str, Any]


def whole_letter(clients: KafkaClients, topics: Topics, letter: Letter) -> Letter | None:
    """Return a letter with its whole record; None if the original of a truncated one is gone."""
    truncated = letter.truncated
    if truncated is None:
        return letter
    for record in _records_at(clients, topics, letter):
        if hashlib.sha256(record.value() or b"").hexdigest() == truncated["value_sha256"]:
            headers = [{"name": name, "value": value} for name, value in headers_of(record)]
            original = {"key": record.key(), "value": record.value(), "headers": headers}
            return replace(letter, fields={**letter.fields, **original, "truncated": None})
    return None


def changed_letter(whole: Letter, letter: Letter, changed: Fields) -> Letter:
    """Return a whole letter with the fields that the user corrected; unchanged ones are ignored."""
    changed = {name: value for name, value in changed.items() if value != letter.fields[name]}
    return replace(whole, fields={**whole.fields, **changed})


def _records_at(clients: KafkaClients, topics: Topics, letter: Letter) -> list[Record]:
    """Return the record at a letter's place, if there is one and the topic is the same."""
    if letter.topic() != topics.clicks:
        return []
    partition, offset = letter.partition(), letter.offset()
    first, end = offset_range(clients, topics.clicks, partition)
    if not first <= offset < end:
        return []
    found = read_range(clients, topics.clicks, partition, offset, offset + 1)
    return [record for record in found if record.offset() == offset]
