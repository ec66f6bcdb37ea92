"""A record that was read, as the rest of the transport sees it."""

from __future__ import annotations

from typing import Protocol

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE


class Record(Protocol):
    """What confluent-kafka's Message is once it is known to be no error.

    A protocol, not a copy: wrapping costs more per click than decoding it.
    """

    def topic(self) -> str:
        """Name of the topic."""

    def partition(self) -> int:
        """Partition."""

    def offset(self) -> int:
        """Offset."""

    def key(self) -> bytes | None:
        """Key."""

    def value(self) -> bytes | None:
        """Value; None for a tombstone or a heartbeat."""

    def headers(self) -> list[tuple[str, bytes]] | None:
        """Headers."""

    def timestamp(self) -> tuple[int, int]:
        """Kind of timestamp, and ms since 1970."""


def written_at_of(record: Record) -> int | None:
    """Return the record's own timestamp, ms since 1970; None where it has none."""
    kind, written_at = record.timestamp()
    return written_at if kind != TIMESTAMP_NOT_AVAILABLE and written_at >= 0 else None


def headers_of(record: Record) -> list[tuple[str, bytes]]:
    """Headers of a record that anyone may have written; none where they cannot be handed out.

    Ask once for each record: where a header's name is not UTF-8, confluent-kafka fails with a
    SystemError the first time and takes the process down the second time.
    """
    try:
        return record.headers() or []
    except (SystemError, UnicodeError):
        return []
