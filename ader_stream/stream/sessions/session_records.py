"""The sessions topic: closed sessions and ended blocks as records, and back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ader_stream.stream.kafka.codec import Headers, encode, headers_for
from ader_stream.stream.sessions.avro_bytes import array_bytes, long_bytes, text_bytes
from ader_stream.stream.sessions.open_session import OpenSession
from ader_stream.stream.sessions.outputs import (
    BlockEnd,
    ClockRefusal,
    IdleAdvance,
    Output,
    WatermarkReset,
)
from ader_stream.stream.sessions.session_bytes import clicks_pieces
from ader_stream.types import Session

BATCH_CLICKS = 5_000
"""Clicks that fill a SessionBatch: some 100 kB, far below the broker's record limit of 1 MB."""


def encode_outputs(partition: int, outputs: Iterable[Output]) -> Iterator[tuple[bytes, Headers]]:
    """Yield the records for what a window has put out, in the same order."""
    batch: list[OpenSession] = []
    clicks = 0
    for output in outputs:
        joins_batch = (
            isinstance(output, OpenSession)
            and clicks < BATCH_CLICKS
            and (not batch or output.block == batch[0].block)
        )
        if batch and not joins_batch:
            yield _encode_batch(partition, batch)
            batch, clicks = [], 0
        if isinstance(output, OpenSession):
            batch.append(output)
            clicks += len(output.times)
        elif isinstance(output, BlockEnd):
            yield _encode_block_end(partition, output)
        else:
            yield encode_decision(partition, output)
    if batch:
        yield _encode_batch(partition, batch)


def encode_decision(
    partition: int, decision: IdleAdvance | ClockRefusal | WatermarkReset
) -> tuple[bytes, Headers]:
    """Return the record of what a partition's log alone does not decide."""
    return encode(type(decision).__name__, {"partition": partition, **decision._asdict()})


def decode_sessions(batch: Mapping[str, Any]) -> Iterator[Session]:
    """Yield the sessions of a SessionBatch's value."""
    for session in batch["sessions"]:
        yield Session(
            key=session["key"],
            items=tuple(session["items"]),
            times=tuple(session["times"]),
            carried=carried_of(session),
            extra=extra_of(session),
        )


def carried_of(columns: Mapping[str, Any]) -> dict[int, int]:
    """Position → original event time (ms) of late clicks, from their Avro value."""
    return {late["position"]: late["time"] for late in columns["carried"]}


def extra_of(columns: Mapping[str, Any]) -> dict[int, Mapping[str, str]]:
    """Position → fields that pass through, from their Avro value."""
    return {extra["position"]: extra["fields"] for extra in columns["extra"]}


def _encode_block_end(partition: int, end: BlockEnd) -> tuple[bytes, Headers]:
    counts = end.counts
    return encode(
        "BlockEnd",
        {
            "partition": partition,
            "block": end.block,
            "clicks": counts.clicks,
            "sessions": counts.sessions,
            "late": counts.late,
        },
    )


def _encode_batch(partition: int, batch: list[OpenSession]) -> tuple[bytes, Headers]:
    sessions = [
        b"".join((text_bytes(session.key), *clicks))
        for session, clicks in zip(batch, clicks_pieces(batch), strict=True)
    ]
    head = long_bytes(partition) + long_bytes(batch[0].block)
    return head + array_bytes(sessions), headers_for("SessionBatch")
