"""Records of the sessions topic: encode and decode closed sessions and ended blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby, islice
from operator import attrgetter
from typing import Any, cast

from ader_stream.stream.avro.codec import Headers, encode, headers_for
from ader_stream.stream.avro.encoding import array_bytes, long_bytes, text_bytes
from ader_stream.stream.sessions.open.session import OpenSession
from ader_stream.stream.sessions.outputs import (
    BlockEnd,
    ClockRefusal,
    IdleAdvance,
    Output,
    WatermarkReset,
)
from ader_stream.stream.sessions.records.session_bytes import clicks_pieces
from ader_stream.types import Session

BLOCK = attrgetter("block")

ErasedTo = Callable[[OpenSession], int]

BATCH_BYTES = 128 * 1024
"""Most bytes of the sessions in a SessionBatch; a single session may have more (which
`SessionRule.max_bytes` limits). Readers fetch some hundred batches at a time."""

AT_ONCE = 1_000
"""Sessions that are encoded together: a million may close with a block."""


def encode_outputs(
    partition: int, outputs: Iterable[Output], erased_to: ErasedTo = lambda _: 0
) -> Iterator[tuple[bytes, Headers]]:
    """Yield the records of a window's outputs, in the same order.

    Parameters
    ----------
    erased_to
        Session → offset of `control` below which erasure requests do not cover it.
    """
    for kind, group in groupby(outputs, type):
        if kind is OpenSession:
            for block, closed in groupby(cast("Iterable[OpenSession]", group), BLOCK):
                for erased, sessions in groupby(closed, erased_to):
                    for batch in _batches(sessions):
                        yield _batch_record(partition, block, batch, erased)
            continue
        for output in group:
            if isinstance(output, BlockEnd):
                yield _encode_block_end(partition, output)
            elif not isinstance(output, OpenSession):
                yield encode_decision(partition, output)


def encode_batch(
    partition: int, batch: list[OpenSession], erased_to: int = 0
) -> tuple[bytes, Headers]:
    """Return the record of sessions of one block."""
    return _batch_record(partition, batch[0].block, _session_bytes(batch), erased_to)


def encode_decision(
    partition: int, decision: IdleAdvance | ClockRefusal | WatermarkReset
) -> tuple[bytes, Headers]:
    """Return the record of a decision that is not in the partition's log."""
    return encode(type(decision).__name__, {"partition": partition, **decision._asdict()})


def decode_sessions(batch: Mapping[str, Any]) -> Iterator[Session]:
    """Yield the sessions in a SessionBatch's value."""
    for session in batch["sessions"]:
        yield Session(
            key=session["key"],
            items=tuple(session["items"]),
            times=tuple(session["times"]),
            carried=carried_of(session),
            extra=extra_of(session),
            erased_to=batch["erased_to"],
        )


def carried_of(columns: Mapping[str, Any]) -> dict[int, int]:
    """Return position → original event time (ms) of late clicks, from their Avro value."""
    return {late["position"]: late["time"] for late in columns["carried"]}


def extra_of(columns: Mapping[str, Any]) -> dict[int, Mapping[str, str]]:
    """Return position → fields that pass through, from their Avro value."""
    return {extra["position"]: extra["fields"] for extra in columns["extra"]}


def _batches(sessions: Iterator[OpenSession]) -> Iterator[list[bytes]]:
    """Yield the bytes of sessions that share a record: as many as it can contain."""
    batch, room = list[bytes](), BATCH_BYTES
    while some := list(islice(sessions, AT_ONCE)):
        for session in _session_bytes(some):
            room -= len(session)
            if room < 0 and batch:
                yield batch
                batch, room = [], BATCH_BYTES - len(session)
            batch.append(session)
    if batch:
        yield batch


def _session_bytes(sessions: Sequence[OpenSession]) -> list[bytes]:
    return [
        b"".join((text_bytes(session.key), *clicks))
        for session, clicks in zip(sessions, clicks_pieces(sessions), strict=True)
    ]


def _batch_record(
    partition: int, block: int, sessions: Sequence[bytes], erased_to: int
) -> tuple[bytes, Headers]:
    head = long_bytes(partition) + long_bytes(block)
    return head + array_bytes(sessions) + long_bytes(erased_to), headers_for("SessionBatch")


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
