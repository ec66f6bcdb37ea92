"""Check the records that a sessionizer reads next: a worker may stop there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from ader_stream.stream.clicks.sampled_times import readable
from ader_stream.stream.clicks.start_check import SAMPLE as AT_START
from ader_stream.stream.diagnosis.contents import describe_refusals
from ader_stream.stream.diagnosis.dry_run import DryPartition
from ader_stream.stream.diagnosis.finding import Finding
from ader_stream.stream.diagnosis.progress import has_topics
from ader_stream.stream.diagnosis.subject import FEWEST, SAMPLE_OF_ALL, DiagnosisInput
from ader_stream.stream.diagnosis.visitors import describe_time_problem
from ader_stream.stream.kafka.sampling import SampledRecord, sample_records
from ader_stream.stream.operations.offsets import SESSIONIZER

MOST = 10_000
"""Records of each partition in the sample, the first unread ones."""


class _Start(NamedTuple):
    """Where a sessionizer reads next, and its group's memory of the clicks before."""

    offset: int
    memory: str = ""


def check_next_reads(subject: DiagnosisInput, newest: Sequence[DryPartition]) -> Iterator[Finding]:
    """Report the results of the next records, and whether the worker would stop there.

    Parameters
    ----------
    newest
        Runs of the newest records: their findings are not repeated.
    """
    if not has_topics(subject):
        return
    ranges, starts = subject.sample().ranges, _starts(subject)
    left = sum(end - starts[partition].offset for partition, (_, end) in ranges.items())
    if not left:
        yield from _nothing_left(subject)
        return
    runs = _run_next(subject, starts)
    yield _what_was_looked_at(runs, left)
    before = [run for run in runs if _says_more(run, newest)]
    yield from describe_refusals(subject, before, "clicks that are read next")
    yield from describe_time_problem(subject, [r for run in before for r in _at_start(run, newest)])


def _starts(subject: DiagnosisInput) -> dict[int, _Start]:
    """Return partition → where a worker that is started now would read next."""
    places = {p.partition: p for p in subject.worker_places() if p.worker == SESSIONIZER}
    skips = subject.start == "latest" and not places
    starts = {}
    for partition, (first, end) in subject.sample().ranges.items():
        if place := places.get(partition):
            memory = place.group.metadata if place.group else ""
            starts[partition] = _Start(min(max(place.place, first), end), memory)
        else:
            starts[partition] = _Start(end if skips else first)
    return starts


def _run_next(subject: DiagnosisInput, starts: dict[int, _Start]) -> list[DryPartition]:
    """Run the first records from each place on, with the group's memory of those before."""
    ranges = subject.sample().ranges
    count = max(FEWEST, min(MOST, SAMPLE_OF_ALL // len(ranges)))
    spans = {p: (at.offset, min(at.offset + count, ranges[p][1])) for p, at in starts.items()}
    sampled = sample_records(subject.clients, subject.topics.clicks, spans)
    by_partition = defaultdict[int, list[SampledRecord]](list)
    for record in readable(sampled, subject.decoder()):
        by_partition[record.partition()].append(record)
    return [
        DryPartition(subject, partition, records, starts[partition].memory)
        for partition, records in by_partition.items()
    ]


def _says_more(run: DryPartition, newest: Sequence[DryPartition]) -> bool:
    """Return whether a run has other records than the newest one, or is the only one to stop."""
    same = next((other for other in newest if other.partition == run.partition), None)
    if same is None or not same.records:
        return True
    is_earlier = run.records[0].offset() < same.records[0].offset()
    return is_earlier or bool(run.stop and not same.stop)


def _at_start(run: DryPartition, newest: Sequence[DryPartition]) -> Iterator[SampledRecord]:
    """Yield the records of a partition whose event times decide whether a worker starts."""
    head = run.records[:AT_START]
    yield from head
    for other in newest:
        if other.partition == run.partition:
            tail = other.records[-AT_START:]
            yield from (record for record in tail if record.offset() > head[-1].offset())


def _nothing_left(subject: DiagnosisInput) -> Iterator[Finding]:
    skipped = sum(end - first for first, end in subject.sample().ranges.values())
    if skipped and not subject.worker_places():
        yield Finding(
            "ok",
            f"clicks.start = latest: the first worker starts after the {skipped:,} records that "
            f"{subject.topics.clicks} holds now, and reads none of them",
            details={"skipped": skipped},
        )


def _what_was_looked_at(runs: Sequence[DryPartition], left: int) -> Finding:
    records = sum(len(run.records) for run in runs)
    refused = sum(len(run.letters) for run in runs)
    text = f"the next {records:,} of {left:,} unread records: {refused:,} would be refused"
    details = {"records": records, "left": left, "refused": refused}
    return Finding("ok", text, details=details)
