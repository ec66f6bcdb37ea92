"""Which sessions the versions were trained on, in this sessions topic or in an earlier one.

Offsets belong to one topic: a topic that was deleted and created again (`ader-stream reset`) has
another id. What versions were trained on in an earlier topic is identified by its event times.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from ader_stream.stream.model_registry.manifest import Manifest, SessionsOffset
from ader_stream.types import Session

BEGINNING = -(2**63)
"""An event time (ms) before every other one."""


UNKNOWN = ""
"""Id of the sessions topic in manifests of format 5 and older, which do not have it."""


def offsets_in(manifest: Manifest, *topic_ids: str) -> tuple[SessionsOffset, ...]:
    """Return the offsets that a version was trained on, if they are those of one of the topics."""
    run = manifest.run
    return run.offsets if run.sessions_topic_id in topic_ids else ()


def next_offsets(manifest: Manifest | None, topic_id: str) -> dict[int, int]:
    """Return the offset of each partition of the sessions topic that follows what was trained."""
    places = offsets_in(manifest, topic_id) if manifest else ()
    return {place.partition: place.next_offset for place in places}


def spans_behind(
    manifests: Mapping[int, Manifest], version: int, topic_id: str, blocks: int
) -> list[dict[int, tuple[int, int]]]:
    """Return the offsets of the last blocks that a version and its ancestors were trained on.

    Returns
    -------
    list
        For each version, newest first, until there are `blocks` of them: partition → first offset
        and the one after the last. The list ends early at a version that is not there, that was
        trained on another topic, or that does not name its first offsets.
    """
    spans, parent = list[dict[int, tuple[int, int]]](), manifests.get(version)
    while parent and blocks > 0:
        span = _offsets_by_partition(offsets_in(parent, topic_id))
        if not span:
            break
        spans.append(span)
        blocks -= len(parent.blocks)
        parent = manifests.get(parent.parent) if parent.parent else None
    return spans


def _offsets_by_partition(places: Iterable[SessionsOffset]) -> dict[int, tuple[int, int]]:
    """Return first and next offset of each partition; empty if a first one is not known."""
    span = dict[int, tuple[int, int]]()
    for place in places:
        if place.first_offset is None:
            return {}
        span[place.partition] = (place.first_offset, place.next_offset)
    return span


def last_block_to_retrain(manifest: Manifest | None) -> int | None:
    """Return the last block to train again together with the next one; None if there is none.

    The offsets of a version that the gate could not judge, and whose block is to be joined, end
    where they begin.
    """
    if manifest is None or manifest.is_accepted or not manifest.gate:
        return None
    places = manifest.run.offsets
    is_unread = all(place.first_offset == place.next_offset for place in places)
    is_joined = manifest.gate.undecided is not None and places and is_unread
    return manifest.last_block if is_joined else None


class Span(NamedTuple):
    """Event times (ms), both ends included."""

    first: int
    last: int


class TrainedBefore:
    """The sessions that versions were trained on in an earlier sessions topic.

    Versions are numbered in the order of their blocks. Where numbers are missing, those versions
    were pruned: the times between their neighbours count as trained.

    Parameters
    ----------
    manifests
        By version, without those that were pruned.
    topic_id
        Kafka's id of the present sessions topic.
    """

    def __init__(self, manifests: Mapping[int, Manifest], topic_id: str) -> None:
        self._spans = _united(span for _, span in trained_spans(manifests, topic_id))

    def __bool__(self) -> bool:
        return bool(self._spans)

    def covers(self, session: Session) -> bool:
        """Return whether a version was trained on a session."""
        last = session.times[-1]
        before = bisect_right(self._spans, last, key=lambda span: span.first)
        return before > 0 and last <= self._spans[before - 1].last


def trained_spans(manifests: Mapping[int, Manifest], topic_id: str) -> Iterator[tuple[int, Span]]:
    """Yield each version that was trained on another topic, and the times of its sessions."""
    trained_to = BEGINNING
    for version, manifest in sorted(manifests.items()):
        run = manifest.run
        span = _span_of(manifest)
        if span is None or run.sessions_topic_id == topic_id:
            continue
        follows_pruned = version > 1 and version - 1 not in manifests
        first = min(trained_to, span.first) if follows_pruned else span.first
        last = min(span.last, run.published_at)  # a clock was wrong where it is later
        if first <= last:
            yield version, Span(first, last)
            trained_to = last


def _span_of(manifest: Manifest) -> Span | None:
    """Return the event times of a version's sessions; None if it read no sessions topic.

    A manifest without the id of the topic has no times either: its blocks give them.
    """
    run, cut = manifest.run, manifest.cut
    if not run.offsets:
        return None
    if run.first_time is not None and run.last_time is not None:
        return Span(run.first_time, run.last_time)
    if run.sessions_topic_id or not {"blocks.origin", "blocks.length"} <= cut.keys():
        return None
    origin, length = cut["blocks.origin"], cut["blocks.length"]
    first, last = min(manifest.blocks), manifest.last_block
    return Span(origin + first * length, origin + (last + 1) * length - 1)


def _united(spans: Iterable[Span]) -> list[Span]:
    """Return spans in order, overlapping ones merged.

    >>> _united([Span(5, 9), Span(1, 3), Span(8, 12)])
    [Span(first=1, last=3), Span(first=5, last=12)]
    """
    united = list[Span]()
    for span in sorted(spans):
        if united and span.first <= united[-1].last:
            united[-1] = Span(united[-1].first, max(united[-1].last, span.last))
        else:
            united.append(span)
    return united
