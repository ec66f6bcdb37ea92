"""Process one input partition in inference: prefixes, running scores, recommendations.

The caller passes the ranking functions in: this module knows no model.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Mapping
from itertools import accumulate
from typing import NamedTuple

import structlog

from ader_stream import metrics as m
from ader_stream.errors import TopicError
from ader_stream.metrics import Metrics
from ader_stream.paired import NO_PAIRED_CLICKS, Pair, PairedCounts
from ader_stream.stream.groups.groups import Committed, Extent
from ader_stream.stream.kafka.limits import DEFAULT_ROOM
from ader_stream.stream.kafka.producing import Transaction
from ader_stream.stream.kafka.records import Record
from ader_stream.stream.scores.paired_log import PairedKey, encode_paired
from ader_stream.stream.scores.prefixes import Joined, PrefixFollower
from ader_stream.stream.scores.recommendation_formats import AVRO, RecommendationFormat
from ader_stream.stream.scores.score_log import (
    PartitionScores,
    Score,
    ScoreKey,
    ScorePlace,
    encode_place,
    encode_score,
)
from ader_stream.stream.scores.sessionizer_decisions import SessionizerDecisions
from ader_stream.stream.topics.identity import made_again
from ader_stream.stream.topics.topics import Topics
from ader_stream.types import Counts, Recommendation, Target

log = structlog.get_logger(__name__)

Items = tuple[str, ...]
RankedItems = tuple[tuple[str, float], ...]


class Scored(NamedTuple):
    """Result of scoring clicks of a block.

    Parameters
    ----------
    version
        The version that scored them; None: there was none.
    counts
        Counts of that version.
    pair, paired
        This version and the canary that was compared with it on these clicks, and the sums; None
        without a canary.
    """

    version: int | None = None
    counts: Counts = Counts()
    pair: Pair | None = None
    paired: PairedCounts = NO_PAIRED_CLICKS


class ModelFunctions(NamedTuple):
    """The functions of the model.

    Parameters
    ----------
    score
        Scores clicks of a block.
    on_scored
        Called with block, version and counts after their commit.
    recommend
        Sessions by key → recommendations by key, empty if no version serves; None: switched off.
    room
        Most bytes of a recommendation, including its key; its last items are left out.
    format
        Of the recommendations.
    """

    score: Callable[[int, list[Target]], Scored]
    on_scored: Callable[[int, int, Counts], None]
    recommend: Callable[[Mapping[str, Items]], Mapping[str, Recommendation]] | None = None
    room: int = DEFAULT_ROOM
    format: RecommendationFormat = AVRO


class PrequentialTask:
    """Scores each click as the target of its prefix before it joins. Implements `PartitionTask`.

    The running counts are in the transaction that advances the offset, so that a crash changes
    none.

    Parameters
    ----------
    found
        The running scores of this partition, and their place.
    topic_id
        Kafka's current id of the clicks topic.
    """

    def __init__(
        self,
        partition: int,
        topics: Topics,
        found: PartitionScores,
        topic_id: str,
        follower: PrefixFollower,
        answers: ModelFunctions,
        metrics: Metrics,
        decisions: SessionizerDecisions | None = None,
    ) -> None:
        self._partition = partition
        self._topics = topics
        self._follower = follower
        self._answers = answers
        self._metrics = metrics
        self._decisions = decisions
        self._found = found
        self._topic_id = topic_id
        self._skipped = 0
        self._lost = 0  # number of deleted records that were to be read again
        self._is_place_unwritten = False  # the place is not in the scores or the group yet
        self._score_from = 0
        self._scores = found.scores
        self._paired = found.paired
        self._paired_changed: set[PairedKey] = set()
        self._uncommitted: dict[ScoreKey, Counts] = {}
        self._to_recommend: dict[str, tuple[Items, int]] = {}
        self._to_delete: list[str] = []

    @property
    def open_block(self) -> int | None:
        """Return the first block that has not ended on this partition."""
        return self._follower.open_block

    def items_of(self, key: str) -> Items | None:
        """Return the items of the key's open session. Thread-safe."""
        return self._follower.items_of(key)

    def place(self, committed: Committed | None, extent: Extent) -> Committed | None:
        """Return the offset up to which the scores count, or the group's offset if that is higher.

        A click must not count twice; if only scores are known, existing clicks do not count any
        more.

        Raises
        ------
        TopicError
            If the clicks topic is not the one of the scores.
        """
        own = self._found.place
        if own and own.topic_id != self._topic_id:
            raise TopicError(made_again(self._topics.clicks, own.topic_id, self._topic_id))
        known = [committed] if committed else []
        if own:
            self._skipped = own.skipped
            known.append(Committed(own.next_offset, own.prefixes))
        if not known and self._scores:
            self._skipped = extent.end - extent.first
            known.append(Committed(extent.end))
        place = max(known, key=lambda place: place.offset, default=None)
        self._is_place_unwritten = not (own and committed and own.next_offset == committed.offset)
        if place and self._is_place_unwritten and (own or not committed):
            log.warning(
                "the group's offset is not that of the scores; no click counts twice",
                topic=self._topics.clicks,
                partition=self._partition,
                group=committed and committed.offset,
                scores=own and own.next_offset,
                offset=place.offset,
            )
        return place

    def restore(self, place: Committed, first: int) -> int:
        """Continue with the scores; clicks below the place only restore prefixes.

        Deleted ones are counted, and are missing in the prefixes of open sessions.
        """
        self._score_from = place.offset
        read_from = self._follower.resume(place.metadata, place.offset, first)
        self._lost = max(0, first - read_from)
        if self._lost:
            log.warning(
                "records to read again were deleted; open sessions start later",
                topic=self._topics.clicks,
                partition=self._partition,
                records=self._lost,
                from_offset=read_from,
                to_offset=first,
            )
        return max(read_from, first)

    def begin(self) -> None:
        """Follow the sessionizer's decisions about this partition; export the lost records."""
        self._metrics.show(m.SKIPPED, self._skipped, partition=self._partition)
        self._metrics[m.REREAD_LOST].labels(partition=self._partition).inc(self._lost)
        if self._decisions:
            self._decisions.follow(self._partition, self._follower.advances_from)

    def process(self, records: list[Record]) -> None:
        """Score clicks block by block."""
        self._follow_sessionizer()
        by_block: defaultdict[int, list[Target]] = defaultdict(list)
        joined_clicks = self._follower.observe(records)
        self._delete_erased()
        for joined in joined_clicks:
            if joined.offset < self._score_from:
                continue
            by_block[joined.block].append(_target(joined))
            if self._answers.recommend and not self._follower.is_erased(joined):
                self._to_recommend[joined.key] = (joined.items, joined.last)
        for block, targets in by_block.items():
            self._score(block, targets)

    def _delete_erased(self) -> None:
        """Delete the recommendations of erased keys."""
        keys = self._follower.take_erased()
        for key in keys:
            self._to_recommend.pop(key, None)
        if self._answers.recommend:
            self._to_delete += keys

    def tick(self, *, is_at_end: bool) -> None:  # noqa: ARG002
        """Apply erasure requests; close the sessions that the sessionizer closed while idle."""
        self._follower.erase()
        self._delete_erased()
        self._follow_sessionizer()

    def is_dirty(self) -> bool:
        """Return whether recommendations to delete, or the place, are not written yet."""
        return bool(self._to_delete) or self._is_place_unwritten

    def write(self, transaction: Transaction, next_offset: int) -> str:
        """Write the changed scores, their place, and recommendations if they are switched on."""
        for key in self._uncommitted:
            transaction.produce(self._topics.scores, *encode_score(key, self._scores[key]))
        for pair in self._paired_changed:
            transaction.produce(self._topics.scores, *encode_paired(pair, self._paired[pair]))
        prefixes = self._follower.metadata()
        place = ScorePlace(next_offset, self._topic_id, prefixes, self._skipped)
        transaction.produce(self._topics.scores, *encode_place(self._partition, place))
        self._write_recommendations(transaction)
        return prefixes

    def committed(self) -> None:
        """Report the counts: only now are they certain."""
        for key, counts in self._uncommitted.items():
            if key.version is not None:
                self._answers.on_scored(key.block, key.version, counts)
        self._is_place_unwritten = False
        self._uncommitted.clear()
        self._paired_changed.clear()
        self._to_recommend.clear()
        self._to_delete.clear()

    def _follow_sessionizer(self) -> None:
        if self._decisions:
            self._follower.follow(*self._decisions.take(self._partition))

    def _score(self, block: int, targets: list[Target]) -> None:
        scored = self._answers.score(block, targets)
        key, counts = ScoreKey(block, scored.version, self._partition), scored.counts
        self._scores[key] = self._scores.get(key, Score()).plus(len(targets), counts)
        self._uncommitted[key] = self._uncommitted.get(key, Counts()) + counts
        if scored.pair:
            self._compare(PairedKey(block, *scored.pair, self._partition), scored.paired)

    def _compare(self, key: PairedKey, counts: PairedCounts) -> None:
        self._paired[key] = self._paired.get(key, NO_PAIRED_CLICKS) + counts
        self._paired_changed.add(key)

    def _write_recommendations(self, transaction: Transaction) -> None:
        for key in self._to_delete:
            transaction.produce(self._topics.recommendations, key, None, partition=self._partition)
        if not self._answers.recommend or not self._to_recommend:
            return
        sessions = {key: items for key, (items, _) in self._to_recommend.items()}
        cut, format_ = 0, self._answers.format
        for key, recommendation in self._answers.recommend(sessions).items():
            ranked = fitting_items(recommendation.items, self._room_beside(key), format_)
            cut += len(ranked) < len(recommendation.items)
            items = [{"item": item, "score": score} for item, score in ranked]
            value, headers = format_.encode(
                {
                    "session": key,
                    "version": recommendation.version,
                    "time": self._to_recommend[key][1],
                    "fallback": recommendation.fallback,
                    "items": items,
                }
            )
            transaction.produce(self._topics.recommendations, key, value, headers, self._partition)
        self._metrics[m.RECOMMENDATIONS_CUT].inc(cut)

    def _room_beside(self, key: str) -> int:
        """Return the room of a recommendation without its key, which is also the record's."""
        return self._answers.room - len(key.encode()) - self._answers.format.text_bytes(key)


def _target(joined: Joined) -> Target:
    return Target(joined.items[:-1], joined.items[-1], joined.key)


def fitting_items(
    items: RankedItems,
    room: int,
    format: RecommendationFormat = AVRO,  # noqa: A002 - its own word
) -> RankedItems:
    """Return the first items, as many as fit into a record.

    >>> fitting_items((("hat", 0.5), ("shoe", 0.2)), room=AVRO.other_bytes + AVRO.item_bytes + 3)
    (('hat', 0.5),)
    """
    sizes = accumulate(
        (format.text_bytes(item) + format.item_bytes for item, _ in items),
        initial=format.other_bytes,
    )
    return items[: max(0, bisect_right([*sizes], room) - 1)]
