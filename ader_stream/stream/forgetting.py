"""Forgetting a session or user key: who is asked to, and what a request covers.

A request is a `control` record with a salted hash of the key and the moment of asking. It covers
what happened up to then: a visitor who comes back is a new one. One salt serves all requests of a
cluster, so that a session is looked up, not compared with each of them.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from ader_stream.stream.control import Command

SALT_BYTES = 16


@dataclass(frozen=True)
class Forgotten:
    """What must not be used any more.

    Parameters
    ----------
    until
        Salt and hash → up to which event time (ms) the key's clicks are forgotten.
    """

    until: Mapping[tuple[bytes, bytes], int] = field(default_factory=dict)

    @classmethod
    def of(cls, commands: Iterable[Command]) -> Forgotten:
        """Gather the requests among commands."""
        return cls(
            {
                (command.salt, command.key_hash): command.at
                for command in commands
                if command.command == "forget" and command.salt and command.key_hash
            }
        )

    def __bool__(self) -> bool:
        return bool(self.until)

    @cached_property
    def _latest(self) -> int:
        """What began later need not be looked up: nearly all that comes."""
        return max(self.until.values(), default=-1)

    def covers(self, key: str, began: int) -> bool:
        """Whether a key's session is forgotten whose earliest click happened at a time (ms).

        >>> asked = forget_request("visit", [], at=1_000)
        >>> forgotten = Forgotten.of([asked])
        >>> forgotten.covers("visit", 1_000), forgotten.covers("visit", 1_001)
        (True, False)
        """
        return began <= self._latest and any(
            began <= self.until.get((salt, key_hash(key, salt)), -1)
            for salt in {salt for salt, _ in self.until}
        )


def forget_request(key: str, commands: Iterable[Command], at: int | None = None) -> Command:
    """Return the command that asks to forget a key; it takes the salt of earlier ones."""
    salts = [c.salt for c in commands if c.command == "forget" and c.salt]
    salt = salts[0] if salts else os.urandom(SALT_BYTES)
    now = time.time_ns() // 1_000_000 if at is None else at
    return Command("forget", key_hash=key_hash(key, salt), salt=salt, at=now)


def key_hash(key: str, salt: bytes) -> bytes:
    """Hash a key with a salt."""
    return hashlib.sha256(salt + key.encode()).digest()
