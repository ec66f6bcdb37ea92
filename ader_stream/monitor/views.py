"""What the compacted topics say now: versions, commands, scores, served versions, stream times.

They are read from their first records at every start, so nothing of them is kept in the state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import structlog

from ader_stream.errors import ArtifactError, DecodeError
from ader_stream.stream.avro.codec import decode, type_of
from ader_stream.stream.kafka.follower import Handler
from ader_stream.stream.kafka.records import Record
from ader_stream.stream.model_registry.manifest_record import Trust
from ader_stream.stream.model_registry.registry import Registry
from ader_stream.stream.scores.paired_log import PAIRED, Running, decode_paired
from ader_stream.stream.scores.score_log import SCORE, Score, ScoreKey, decode_score
from ader_stream.stream.topics.topics import Topics

log = structlog.get_logger(__name__)

SHOWN_SCORES = frozenset({SCORE, PAIRED, "ScorePlace"})
"""Types of `scores` that are known here; the place of inference is not needed."""


class TopicViews:
    """Hold the last records of the compacted topics.

    Parameters
    ----------
    blocks
        Number of the newest blocks whose scores are kept.
    on_refused
        Called with the error of a manifest that is not accepted.

    Attributes
    ----------
    registry
        Versions and commands.
    scores, paired
        Block → running counts, of the newest blocks.
    serving
        Worker → its Serving record, in the order in which they were written last.
    stream_times
        Partition, as in the key → highest event time of its clicks, ms: a hint.
    skipped
        Topic without its prefix → records that cannot be read here.
    """

    def __init__(
        self,
        topics: Topics,
        trust: Trust,
        blocks: int,
        on_refused: Callable[[ArtifactError], None],
    ) -> None:
        self.registry = Registry(trust, on_refused)
        self.scores: dict[int, dict[ScoreKey, Score]] = {}
        self.paired: dict[int, Running] = {}
        self.serving: dict[str, Mapping[str, Any]] = {}
        self.stream_times: dict[str, int] = {}
        self.skipped: dict[str, int] = {}
        self._prefix = topics.prefix
        self._blocks = blocks
        self.handlers: Mapping[str, Handler] = {
            topics.models: self.registry.take_manifest,
            topics.control: self.registry.take_command,
            topics.serving: self._read(self._take_serving),
            topics.scores: self._read(self._take_score),
            topics.watermarks: self._read(self._take_stream_time),
        }

    def _read(self, take: Handler) -> Handler:
        """Return a handler that logs and counts records that cannot be read here."""

        def handler(record: Record) -> None:
            try:
                take(record)
            except DecodeError as error:
                name = record.topic().removeprefix(f"{self._prefix}.")
                self.skipped[name] = self.skipped.get(name, 0) + 1
                log.warning("record skipped", topic=name, offset=record.offset(), reason=str(error))

        return handler

    def _take_serving(self, record: Record) -> None:
        worker = (record.key() or b"").decode(errors="replace")
        self.serving.pop(worker, None)
        if record.value() is not None:
            self.serving[worker] = decode(record.value(), record.headers())[1]

    def _take_score(self, record: Record) -> None:
        if record.value() is None:
            return
        kind = type_of(record.headers())
        if kind == SCORE:
            key, score = decode_score(decode(record.value(), record.headers())[1])
            self.scores.setdefault(key.block, {})[key] = score
        elif kind == PAIRED:
            paired_key, counts = decode_paired(record)
            self.paired.setdefault(paired_key.block, {})[paired_key] = counts
        elif kind not in SHOWN_SCORES:
            raise DecodeError(f"type {kind!r} is unknown here")
        for blocks in (self.scores, self.paired):
            while len(blocks) > self._blocks:
                del blocks[min(blocks)]

    def _take_stream_time(self, record: Record) -> None:
        partition = (record.key() or b"").decode(errors="replace")
        if record.value() is None:
            self.stream_times.pop(partition, None)
        else:
            _, value = decode(record.value(), record.headers())
            self.stream_times[partition] = value["stream_time"]
