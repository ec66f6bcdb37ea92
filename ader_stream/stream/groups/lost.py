"""Detect records that a reader needs and that its log no longer has."""

from __future__ import annotations

from ader_stream.errors import OffsetError
from ader_stream.stream.groups.groups import Extent

REMEDY = "`ader-stream offsets skip --yes`"
"""Command that continues after lost records."""


def require_held(topic: str, partition: int, place: int, log: Extent) -> None:
    """Raise OffsetError unless a log has all records from an offset on.

    >>> require_held("web.clicks", 1, 150, Extent(150, 200))
    """
    if place < log.first:
        raise OffsetError(
            f"{topic}/{partition}: {log.first - place} records, offsets {place} to "
            f"{log.first - 1}, were deleted before this worker had read them: the topic keeps "
            f"them for a shorter time than this worker was behind. {REMEDY} continues at offset "
            f"{log.first} and counts them (without --yes it only shows them); let the topic keep "
            "them for longer"
        )
    if place > log.end:
        raise OffsetError(
            f"{topic}/{partition}: the log ends at offset {log.end}, but this worker has read up "
            f"to {place}: the broker has lost {place - log.end} records that this worker has read "
            f"(an unclean leader election?). {REMEDY} continues at offset {log.end}"
        )
