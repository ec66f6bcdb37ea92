"""Run the sessionizer's own code on a sample, with nothing written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from prometheus_client import CollectorRegistry

from ader_stream import metrics as m
from ader_stream.errors import AderError
from ader_stream.metrics import Metric, Metrics
from ader_stream.stream.avro.codec import Headers, decode
from ader_stream.stream.clicks.refusals import RECENT_CLICKS, RefusalRule
from ader_stream.stream.control.erasures import Erasures
from ader_stream.stream.diagnosis.subject import DiagnosisInput
from ader_stream.stream.groups.groups import Committed
from ader_stream.stream.kafka.producing import Key, Keyed, Transaction
from ader_stream.stream.kafka.sampling import SampledRecord
from ader_stream.stream.sessions.records.partition_state import PartitionState
from ader_stream.stream.sessions.task import Found, Idling, SessionizerTask
from ader_stream.stream.sessions.watermark_hints import WatermarkHints
from ader_stream.stream.sessions.window import SessionWindow
from ader_stream.stream.topics.topics import TopicFacts

SILENT_SECONDS = 10.0**9
"""Longer than any time-out."""

NO_LIMIT = RefusalRule(ratio=1.0, run=RECENT_CLICKS)
"""Never stops for refused clicks, so that the results of all clicks are known."""


class DryPartition:
    """Result of a new sessionizer on the sample of one partition.

    Parameters
    ----------
    subject
        Its decoder and rules.
    partition
        Number of the partition.
    records
        Records in order.
    memory
        Committed memory of the clicks before them: see `Refusals`.

    Attributes
    ----------
    letters
        Dead letters, as they would be written.
    closed_by_clicks
        Sessions that close before any partition is idle.
    stop
        Why the worker would stop at these records; empty if it would not.
    """

    def __init__(
        self,
        subject: DiagnosisInput,
        partition: int,
        records: Sequence[SampledRecord],
        memory: str = "",
    ) -> None:
        self.partition, self.records = partition, records
        self.letters: list[Mapping[str, Any]] = []
        self._registry = CollectorRegistry()
        self._silence = _Silence()
        self._task = self._task_of(subject, self._registry, NO_LIMIT)
        self._topic = subject.topics.dead_letters
        self.stop = self._take_all(subject, memory)
        self.closed_by_clicks = self.total(m.SESSIONS)

    @property
    def window(self) -> SessionWindow:
        """Return its open sessions and watermark."""
        return self._task.window

    @property
    def taken(self) -> int:
        """Return the number of clicks that do not become dead letters."""
        refused = sum(clicks_in(letter) for letter in self.letters if letter["value"] is not None)
        return self.read - refused - self.ignored

    @property
    def read(self) -> int:
        """Return the number of clicks that were read, with those ignored and refused."""
        return self.total(m.CLICKS) - sum(record.value() is None for record in self.records)

    @property
    def ignored(self) -> int:
        """Return the number of records with a value that are no clicks by the settings."""
        return self.total(m.IGNORED) - self.total(m.IGNORED, reason="tombstone")

    def total(self, metric: Metric[Any], **labels: str) -> int:
        """Return the sum of a metric over its labels, except those given."""
        families = self._registry.collect()
        samples = (s for family in families for s in family.samples if s.name == metric.name)
        return int(sum(s.value for s in samples if labels.items() <= s.labels.items()))

    def fall_silent(self, stream_times: Sequence[int]) -> None:
        """Behave as an idle partition, given the stream times (ms) of all partitions."""
        self._silence.stream_times = stream_times
        self._silence.seconds += SILENT_SECONDS
        self._task.tick(is_at_end=True)
        self._commit()

    def _take_all(self, subject: DiagnosisInput, memory: str) -> str:
        records = list(self.records)
        stop = _stop(self._task, records)
        self._commit()
        if stop or not self.letters:
            return stop
        limited = self._task_of(subject, CollectorRegistry(), subject.rules.refusals)
        if memory:
            limited.restore(Committed(records[0].offset(), memory), records[0].offset())
        return _stop(limited, records)

    def _task_of(
        self, subject: DiagnosisInput, registry: CollectorRegistry, refusals: RefusalRule
    ) -> SessionizerTask:
        silence = self._silence
        hints = cast("WatermarkHints", silence)
        return SessionizerTask(
            self.partition,
            subject.topics,
            Found(PartitionState(), TopicFacts("", len(subject.sample().ranges)), Erasures()),
            subject.decoder(),
            replace(subject.rules_in_force, refusals=refusals),
            Metrics(registry),
            None if subject.idle is None else Idling(subject.idle, hints, silence.clock),
            subject.clock,
        )

    def _commit(self) -> None:
        """Write as for a commit, and keep the dead letters."""
        transaction = _Collected(self._topic, self.letters)
        self._task.write(transaction, self.records[-1].offset() + 1 if self.records else 0)
        self._task.committed()


def clicks_in(letter: Mapping[str, Any]) -> int:
    """Return the number of clicks of a dead letter; a record may hold many (`clicks.explode`)."""
    return max(1, len(letter["elements"]))


def dry_run(subject: DiagnosisInput) -> list[DryPartition]:
    """Run every partition's sample."""
    by_partition = subject.sample().by_partition
    runs = [
        DryPartition(subject, partition, records) for partition, records in by_partition.items()
    ]
    for _ in range(2 if subject.idle is not None else 0):  # quarantined clicks, then the others
        watermarks = [run.window.watermark for run in runs if run.window.watermark is not None]
        lateness = subject.rules.sessions.lateness
        for run in runs:
            run.fall_silent([watermark + lateness for watermark in watermarks])
    return runs


def _stop(task: SessionizerTask, records: list[SampledRecord]) -> str:
    """Process records with a task; return why it stops."""
    try:
        if records:
            task.process(list(records))
    except AderError as error:
        return str(error)
    return ""


class _Silence:
    """Replaces `WatermarkHints`, and the clock that measures the silence of a partition.

    Attributes
    ----------
    stream_times
        Of all partitions (ms).
    seconds
        Seconds that have passed.
    """

    def __init__(self) -> None:
        self.stream_times: Sequence[int] = ()
        self.seconds = 0.0

    def highest(self, limit: int) -> int | None:
        """Return the highest stream time that is not too far ahead."""
        return max((time for time in self.stream_times if time <= limit), default=None)

    def publish(self, partition: int, stream_time: int) -> None:
        """Ignore the stream time: there is no other partition to notify."""

    def clock(self) -> float:
        """Return the seconds that have passed."""
        return self.seconds


class _Collected(Transaction):
    """A transaction that is never sent: its dead letters are read, all else is dropped."""

    def __init__(self, topic: str, letters: list[Mapping[str, Any]]) -> None:
        super().__init__()
        self._topic, self._letters = topic, letters

    def produce(
        self,
        topic: str,
        key: Key,
        value: bytes | None,
        headers: Headers | None = None,
        partition: int = 0,
    ) -> None:
        """Keep a dead letter."""
        self.extend(topic, [(key, value, headers)], partition)

    def extend(self, topic: str, records: Iterable[Keyed], partition: int) -> None:  # noqa: ARG002
        """Keep dead letters."""
        found = list(records)  # making them is part of the work
        if topic == self._topic:
            self._letters += [decode(value, headers)[1] for _, value, headers in found]
