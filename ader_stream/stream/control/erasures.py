"""Erasure of a session or user key: the requests, and the clicks that they cover.

A request is a `control` record with a salted hash of the key, and with the end of each partition of
the clicks topic at that time. It covers the clicks below, whatever their event times are; later
clicks belong to a new visitor. One salt is used for all requests of a cluster: a session is looked
up by its hash, and never compared with each request.
"""

from __future__ import annotations

import hashlib
import os
import time
from bisect import bisect_left
from operator import attrgetter
from typing import NamedTuple

from ader_stream.stream.control.commands import FORGET, Command, decode_command
from ader_stream.stream.kafka.clients import KafkaClients
from ader_stream.stream.kafka.reading import read_to_end
from ader_stream.stream.topics.topics import Topics

SALT_BYTES = 16


class Erasure(NamedTuple):
    """An erasure request.

    Parameters
    ----------
    offset
        Offset of its record in `control`.
    salt, key_hash
        The key, hashed by `key_hash`.
    at
        When it was requested, ms.
    clicks_end
        Partition of the clicks topic → its end at that time. Empty in requests of earlier releases,
        which cover clicks with event times up to `at`.
    clicks_id
        Kafka's id of the clicks topic.
    """

    offset: int
    salt: bytes
    key_hash: bytes
    at: int
    clicks_end: tuple[int, ...] = ()
    clicks_id: str = ""

    @property
    def is_by_time(self) -> bool:
        """Return whether event times decide what is covered."""
        return not self.clicks_end

    def end_of(self, partition: int, clicks_id: str) -> int:
        """Return the offset below which a partition's clicks are covered.

        It is 0 for a partition that was added later, and for another topic.
        """
        if clicks_id != self.clicks_id or partition >= len(self.clicks_end):
            return 0
        return self.clicks_end[partition]

    def covers_closed(self, erased_to: int, began: int) -> bool:
        """Return whether a closed session of the key is covered.

        Parameters
        ----------
        erased_to
            Of its SessionBatch.
        began
            Time of its earliest click, ms.

        >>> request = Erasure(7, b"salt", b"hash", at=1_000, clicks_end=(3,))
        >>> [request.covers_closed(erased_to, began=2_000) for erased_to in (0, 7, 8)]
        [True, True, False]
        """
        return began <= self.at if self.is_by_time else erased_to <= self.offset


class Erasures:
    """All requests, in the order of `control`. May be read while another thread adds requests.

    Attributes
    ----------
    salts
        One salt, unless several requests were written at first at the same time.
    latest_by_time
        The latest `at` of the requests that cover by event times; -1 without any.
    """

    def __init__(self) -> None:
        self.salts: tuple[bytes, ...] = ()
        self.latest_by_time = -1
        self._latest: dict[bytes, dict[bytes, Erasure]] = {}  # salt → hash → its last request
        self._log: list[Erasure] = []

    def __len__(self) -> int:
        return len(self._log)

    def __getitem__(self, number: int) -> Erasure:
        return self._log[number]

    def take(self, command: Command, offset: int) -> None:
        """Add the request at an offset of `control`; a known one changes nothing."""
        if not (command.salt and command.key_hash) or offset < self.next_offset:
            return
        key = command.salt, command.key_hash
        erasure = Erasure(offset, *key, command.at, command.clicks_end, command.clicks_id)
        self._latest.setdefault(command.salt, {})[command.key_hash] = erasure
        if command.salt not in self.salts:
            self.salts += (command.salt,)
        if erasure.is_by_time:
            self.latest_by_time = max(self.latest_by_time, command.at)
        self._log.append(erasure)

    @property
    def next_offset(self) -> int:
        """Return the offset of `control` after the last request; 0 without any."""
        return self._log[-1].offset + 1 if self._log else 0

    def count_below(self, offset: int) -> int:
        """Return the number of requests below an offset of `control`."""
        return bisect_left(self._log, offset, key=attrgetter("offset"))

    def since(self, offset: int) -> list[Erasure]:
        """Return the requests from an offset of `control` on."""
        return self._log[self.count_below(offset) :]

    def of(self, key: str) -> Erasure | None:
        """Return the last request that names a key.

        >>> erasures = Erasures()
        >>> erasures.take(erasure_request("visit", erasures), offset=5)
        >>> erasures.of("visit").offset, erasures.of("another")
        (5, None)
        """
        last: Erasure | None = None
        for salt in self.salts:
            found = self._latest[salt].get(key_hash(key, salt))
            if found and (last is None or found.offset > last.offset):
                last = found
        return last


def read_erasures(clients: KafkaClients, topics: Topics) -> Erasures:
    """Read every request; raise DecodeError if one cannot be read."""
    erasures = Erasures()
    for record in read_to_end(clients, topics.control):
        if (record.key() or b"").startswith(FORGET.encode()) and record.value() is not None:
            erasures.take(decode_command(record), record.offset())
    return erasures


def erasure_request(
    key: str,
    erasures: Erasures,
    clicks_end: tuple[int, ...] = (),
    clicks_id: str = "",
    at: int | None = None,
) -> Command:
    """Return the command that requests to erase a key, with the salt of earlier requests."""
    salt = erasures.salts[0] if erasures.salts else os.urandom(SALT_BYTES)
    return Command(
        FORGET,
        key_hash=key_hash(key, salt),
        salt=salt,
        at=time.time_ns() // 1_000_000 if at is None else at,
        clicks_end=clicks_end,
        clicks_id=clicks_id,
    )


def key_hash(key: str, salt: bytes) -> bytes:
    """Hash a key with a salt."""
    return utf8_hash(key.encode(), salt)


def utf8_hash(key: bytes, salt: bytes) -> bytes:
    """Hash a key's UTF-8 with a salt."""
    return hashlib.sha256(salt + key).digest()
