"""Encode and decode the commands of the control topic.

The key is the command (for `forget` also its hash): compaction keeps the last of each, and only
that one counts.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ader_stream.stream.avro.codec import Headers, decode, encode
from ader_stream.stream.kafka.clients import KafkaClients
from ader_stream.stream.kafka.producing import Keyed, send_and_wait
from ader_stream.stream.kafka.reading import read_to_end
from ader_stream.stream.kafka.records import Record
from ader_stream.stream.topics.topics import Topics
from ader_stream.types import BlockChange, BlockRule

FORGET = "forget"
"""Command of a request to erase a key. It is valid for ever."""

SERVING = ("pin", "unpin", "promote", "rollback")
"""Commands; the last one of them decides what is served."""

FALLBACK = "fallback"
"""Command that ends the canary of one version; the rest of a pin remains valid."""


@dataclass(frozen=True)
class Command:
    """A command to the workers.

    Parameters
    ----------
    command
        pin, unpin, promote, fallback, rollback, prune or forget; blocks or rules: current rules.
    version
        Its version.
    newest
        Of a rollback: the newest version when it was requested.
    share
        Of a pin: share of the session keys that still get the newest version.
    versions
        Of a prune: those to delete.
    key_hash, salt
        Of a forget: the salted hash of the key.
    clicks_end, clicks_id
        Of a forget: the end of each partition of the clicks topic, and Kafka's id of that topic.
    at
        When it was requested, ms.
    block_rule
        Of blocks: the rule of blocks, from the first block on.
    rules
        Of rules: setting → its value as text, by which sessions are made.
    stable
        Of a fallback: the version that serves all keys in place of the canary, `version`.
    reason
        The measurement behind it, if there is one.
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
        """Return the key for compaction."""
        return f"{self.command}/{self.key_hash.hex()}" if self.key_hash else self.command


def ask(clients: KafkaClients, topics: Topics, command: Command) -> int:
    """Write a command and wait for its acknowledgement. Return its offset.

    Raises
    ------
    TopicError
        If the broker has not accepted it.
    """
    record = encode_command(command)
    [offset] = send_and_wait(clients.producer(), topics.control, [(0, record)], command.command)
    return offset


def encode_command(command: Command) -> tuple[str, bytes, Headers]:
    """Return key, value and headers of a command's record; its time is the current one if unset."""
    asked = asdict(command) | {"at": command.at or time.time_ns() // 1_000_000}
    return command.key, *encode("Control", asked)


def decode_command(record: Record) -> Command:
    """Return the command in a record that is no tombstone; raise DecodeError if it is invalid."""
    _, value = decode(record.value(), record.headers())
    rule = value["block_rule"]
    changed = {name: tuple(value[name]) for name in ("versions", "clicks_end")}
    return Command(**value | changed | {"block_rule": _block_rule(rule) if rule else None})


def _block_rule(value: dict[str, Any]) -> BlockRule:
    changes = tuple(BlockChange(**change) for change in value["changes"])
    return BlockRule(value["origin"], value["length"], changes)


def commands_in(clients: KafkaClients, topics: Topics) -> list[str]:
    """Return the keys of the current commands, without erasure requests."""
    last = {record.key() or b"": record.value() for record in read_to_end(clients, topics.control)}
    keys = [key.decode() for key, value in last.items() if value is not None]
    return [key for key in keys if not key.startswith(f"{FORGET}/")]


def withdraw(clients: KafkaClients, topics: Topics, keys: Iterable[str]) -> None:
    """Delete commands by their keys; raise TopicError as `ask` does."""
    tombstones: list[tuple[int, Keyed]] = [(0, (key, None, [])) for key in keys]
    send_and_wait(clients.producer(), topics.control, tombstones, "a tombstone")


def last_of_each(commands: Iterable[Command]) -> list[Command]:
    """Return the last command of each key, in their order, as compaction would."""
    kept: dict[str, Command] = {}
    for command in commands:
        kept.pop(command.key, None)
        kept[command.key] = command
    return list(kept.values())
