"""What inference makes of one input partition: prefixes, running scores, recommendations.

What ranks is handed in: the transport knows no model.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import NamedTuple

from ader_stream.stream.forgetting import Forgotten
from ader_stream.stream.kafka.codec import encode
from ader_stream.stream.kafka.producing import Transaction
from ader_stream.stream.kafka.records import Record
from ader_stream.stream.kafka.topics import Topics
from ader_stream.stream.scores.prefixes import PrefixFollower
from ader_stream.stream.scores.score_log import Score, ScoreKey, encode_score
from ader_stream.stream.scores.sessionizer_decisions import SessionizerDecisions
from ader_stream.types import Counts, Recommendation, Target

Items = tuple[str, ...]


class Answers(NamedTuple):
    """What the model has to say.

    Parameters
    ----------
    score
        Block and its clicks → the version that scored them (None: none was there) and counts.
    on_scored
        Told block, version and counts once they are committed.
    recommend
        Sessions by key → recommendations by key, none where no version serves; None: switched off.
    """

    score: Callable[[int, list[Target]], tuple[int | None, Counts]]
    on_scored: Callable[[int, int, Counts], None]
    recommend: Callable[[Mapping[str, Items]], Mapping[str, Recommendation]] | None = None


class PrequentialTask:
    """Scores each click as the target of its prefix before it joins. Implements `PartitionTask`.

    The running counts go out in the transaction that moves the offset on, so that a crash
    changes none.

    Parameters
    ----------
    scores
        The running ones of this partition.
    """

    def __init__(
        self,
        partition: int,
        topics: Topics,
        scores: dict[ScoreKey, Score],
        follower: PrefixFollower,
        answers: Answers,
        decisions: SessionizerDecisions | None = None,
    ) -> None:
        self._partition = partition
        self._topics = topics
        self._follower = follower
        self._answers = answers
        self._decisions = decisions
        self._score_from = 0
        self._scores = scores
        self._uncommitted: dict[ScoreKey, Counts] = {}
        self._to_recommend: dict[str, tuple[Items, int]] = {}
        self._to_delete: list[str] = []

    @property
    def open_block(self) -> int | None:
        """The first block that has not ended on this partition."""
        return self._follower.open_block

    def items_of(self, key: str) -> Items | None:
        """Items of the key's open session. May be called from another thread."""
        return self._follower.items_of(key)

    def restore(self, next_offset: int, metadata: str, *, is_committed: bool) -> int:  # noqa: ARG002
        """Return where to read from; clicks below `next_offset` only rebuild prefixes."""
        self._score_from = next_offset
        return self._follower.resume(metadata, next_offset)

    def begin(self) -> None:
        """Follow what the sessionizer decides of this partition."""
        if self._decisions:
            self._decisions.follow(self._partition, self._follower.advances_from)

    def process(self, records: list[Record]) -> None:
        """Score clicks block by block."""
        self._follow_sessionizer()
        by_block: defaultdict[int, list[Target]] = defaultdict(list)
        for joined in self._follower.observe(records):
            if joined.offset < self._score_from:
                continue
            by_block[joined.block].append(Target(joined.items[:-1], joined.items[-1]))
            is_forgotten = self._follower.is_forgotten(joined.key, joined.began)
            if self._answers.recommend and not is_forgotten:
                self._to_recommend[joined.key] = (joined.items, joined.last)
        for block, targets in by_block.items():
            self._score(block, targets)

    def forget(self, forgotten: Forgotten) -> int:
        """Drop what is open of forgotten keys, and delete what was recommended to them."""
        keys = self._follower.forget(forgotten)
        for key in keys:
            self._to_recommend.pop(key, None)
        if self._answers.recommend:
            self._to_delete += keys
        return len(keys)

    def tick(self, *, is_at_end: bool) -> None:  # noqa: ARG002
        """Close what the sessionizer has closed where the partition is idle."""
        self._follow_sessionizer()

    def is_dirty(self) -> bool:
        """Whether something waits to be written without a record: recommendations to delete."""
        return bool(self._to_delete)

    def write(self, transaction: Transaction, next_offset: int) -> str:  # noqa: ARG002
        """Produce the scores that have changed, and recommendations where they are on."""
        for key in self._uncommitted:
            transaction.produce(self._topics.scores, *encode_score(key, self._scores[key]))
        self._write_recommendations(transaction)
        return self._follower.metadata()

    def committed(self) -> None:
        """Tell the counts: only now they are certain."""
        for key, counts in self._uncommitted.items():
            if key.version is not None:
                self._answers.on_scored(key.block, key.version, counts)
        self._uncommitted.clear()
        self._to_recommend.clear()
        self._to_delete.clear()

    def _follow_sessionizer(self) -> None:
        if self._decisions:
            self._follower.follow(*self._decisions.take(self._partition))

    def _score(self, block: int, targets: list[Target]) -> None:
        version, counts = self._answers.score(block, targets)
        key = ScoreKey(block, version, self._partition)
        self._scores[key] = self._scores.get(key, Score()).plus(len(targets), counts)
        self._uncommitted[key] = self._uncommitted.get(key, Counts()) + counts

    def _write_recommendations(self, transaction: Transaction) -> None:
        for key in self._to_delete:
            transaction.produce(self._topics.recommendations, key, None, partition=self._partition)
        if not self._answers.recommend or not self._to_recommend:
            return
        sessions = {key: items for key, (items, _) in self._to_recommend.items()}
        for key, recommendation in self._answers.recommend(sessions).items():
            items = [{"item": item, "score": score} for item, score in recommendation.items]
            value, headers = encode(
                "Recommendation",
                {
                    "session": key,
                    "version": recommendation.version,
                    "time": self._to_recommend[key][1],
                    "fallback": recommendation.fallback,
                    "items": items,
                },
            )
            transaction.produce(self._topics.recommendations, key, value, headers, self._partition)
