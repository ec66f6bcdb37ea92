"""The control topic: what commands ask of the workers, and back.

The key is the command (for `forget` its hash, too): compaction keeps the last of each, and that is
all that counts.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ader_stream.stream.avro.codec import Headers, decode, encode
from ader_stream.stream.kafka.changelog import read_to_end
from ader_stream.stream.kafka.clients import KafkaClients
from ader_stream.stream.kafka.producing import Keyed, send_and_wait
from ader_stream.stream.kafka.records import Record
from ader_stream.stream.topics.topics import Topics
from ader_stream.types import BlockChange, BlockRule

FORGET = "forget"
"""Command of a request to erase a key. It counts for ever."""

SERVING = ("pin", "unpin", "promote", "rollback")
"""Commands of which the last one decides what is served."""

FALLBACK = "fallback"
"""Command that ends the canary of one version; what a pin says beside that holds on."""


@dataclass(frozen=True)
class Command:
    """What was asked.

    Parameters
    ----------
    command
        pin, unpin, promote, fallback, rollback, prune or forget; blocks or rules: what holds.
    version
        The version it is about.
    newest
        Of a rollback: the newest version when it was asked.
    share
        Of a pin: share of the session keys that get the newest version all the same.
    versions
        Of a prune: those to delete.
    key_hash, salt
        Of a forget: the salted hash of the key.
    clicks_end, clicks_id
        Of a forget: where each partition of the clicks topic ended, and Kafka's id of that topic.
    at
        When it was asked, ms.
    block_rule
        Of blocks: how they are cut, from the first one on.
    rules
        Of rules: setting → its value as it is written, by which sessions are made.
    stable
        Of a fallback: the version that serves everyone in place of the canary, `version`.
    reason
        What was measured, where that has decided.
    """

    command: str
    version: int | None = None
    newest: int | None = None
    share: float | None = None
    versions: tuple[int, ...] = ()
    key_hash: bytes | None = None
    salt: bytes | None = None
    at: int = 0
    block_rule: BlockRule | None = None
    rules: Mapping[str, str] = field(default_factory=dict)
    clicks_end: tuple[int, ...] = ()
    clicks_id: str = ""
    stable: int | None = None
    reason: str = ""

    @property
    def key(self) -> str:
        """What compaction goes by."""
        return f"{self.command}/{self.key_hash.hex()}" if self.key_hash else self.command


def ask(clients: KafkaClients, topics: Topics, command: Command) -> int:
    """Write a command; on return it is acknowledged. Return its offset.

    Raises
    ------
    TopicError
        If the broker has not taken it.
    """
    record = encode_command(command)
    [offset] = send_and_wait(clients.producer(), topics.control, [(0, record)], command.command)
    return offset


def encode_command(command: Command) -> tuple[str, bytes, Headers]:
    """Return key, value and headers of a command's record; it is asked now, if it says no time."""
    asked = asdict(command) | {"at": command.at or time.time_ns() // 1_000_000}
    return command.key, *encode("Control", asked)


def decode_command(record: Record) -> Command:
    """Return the command in a record that is no tombstone; raises DecodeError."""
    _, value = decode(record.value(), record.headers())
    rule = value["block_rule"]
    changed = {name: tuple(value[name]) for name in ("versions", "clicks_end")}
    return Command(**value | changed | {"block_rule": _block_rule(rule) if rule else None})


def _block_rule(value: dict[str, Any]) -> BlockRule:
    changes = tuple(BlockChange(**change) for change in value["changes"])
    return BlockRule(value["origin"], value["length"], changes)


def commands_in(clients: KafkaClients, topics: Topics) -> list[str]:
    """Return the keys of the commands that count, without requests to erase keys."""
    last = {record.key() or b"": record.value() for record in read_to_end(clients, topics.control)}
    keys = [key.decode() for key, value in last.items() if value is not None]
    return [key for key in keys if not key.startswith(f"{FORGET}/")]


def withdraw(clients: KafkaClients, topics: Topics, keys: Iterable[str]) -> None:
    """Delete commands by their keys: they count no more. Raises TopicError as `ask` does."""
    tombstones: list[tuple[int, Keyed]] = [(0, (key, None, [])) for key in keys]
    send_and_wait(clients.producer(), topics.control, tombstones, "a tombstone")


def last_of_each(commands: Iterable[Command]) -> list[Command]:
    """Keep the last command of each key, in their order: what compaction leaves."""
    kept: dict[str, Command] = {}
    for command in commands:
        kept.pop(command.key, None)
        kept[command.key] = command
    return list(kept.values())
