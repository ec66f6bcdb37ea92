"""The sessions topic: closed sessions and ended blocks as records, and back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ader_stream.stream.codec import Headers, encode
from ader_stream.stream.window import BlockEnd, OpenSession, SessionClick
from ader_stream.types import Session

BATCH_CLICKS = 5_000
"""Clicks that fill a SessionBatch: some 100 kB, far below the broker's record limit of 1 MB."""


def encode_outputs(
    partition: int, outputs: Iterable[OpenSession | BlockEnd]
) -> Iterator[tuple[bytes, Headers]]:
    """Yield the records for what a window has put out, in the same order."""
    batch: list[OpenSession] = []
    clicks = 0
    for output in outputs:
        ends_batch = isinstance(output, BlockEnd) or clicks >= BATCH_CLICKS
        if batch and (ends_batch or output.block != batch[0].block):
            yield _encode_batch(partition, batch)
            batch, clicks = [], 0
        if isinstance(output, BlockEnd):
            yield _encode_block_end(partition, output)
        else:
            batch.append(output)
            clicks += len(output.clicks)
    if batch:
        yield _encode_batch(partition, batch)


def decode_sessions(batch: Mapping[str, Any]) -> Iterator[Session]:
    """Yield the sessions of a SessionBatch's value."""
    for session in batch["sessions"]:
        clicks = [session_click(click) for click in session["clicks"]]
        yield Session(
            key=session["key"],
            items=tuple(click.item for click in clicks),
            times=tuple(click.time for click in clicks),
            carried={
                i: c.original_time for i, c in enumerate(clicks) if c.original_time is not None
            },
            extra={i: c.extra for i, c in enumerate(clicks) if c.extra},
        )


def session_click(value: Mapping[str, Any]) -> SessionClick:
    """Return a SessionClick from its Avro value."""
    return SessionClick(value["time"], value["item"], value["original_time"], value["extra"])


def avro_clicks(clicks: Iterable[SessionClick]) -> list[dict[str, Any]]:
    """Return the Avro values of clicks."""
    return [click._asdict() for click in clicks]


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
    sessions = [{"key": s.key, "clicks": avro_clicks(s.clicks)} for s in batch]
    return encode(
        "SessionBatch",
        {"partition": partition, "block": batch[0].block, "sessions": sessions},
    )
