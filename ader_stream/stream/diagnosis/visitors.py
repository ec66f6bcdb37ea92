"""Check the event times and session keys of sampled clicks."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from ader_stream.errors import ClickError, IgnoredError
from ader_stream.plausible_times import TimeSample, describe_time, find_time_problem
from ader_stream.stream.clicks.decoder import WATERMARK_HEADER, decode_heartbeat
from ader_stream.stream.clicks.sampled_times import find_problem, remedy_for
from ader_stream.stream.diagnosis.dry_run import DryPartition
from ader_stream.stream.diagnosis.finding import Finding, as_percent
from ader_stream.stream.diagnosis.subject import DiagnosisInput
from ader_stream.stream.kafka.sampling import SampledRecord
from ader_stream.types import Click

LARGE_SHARE = 0.2
"""Share of the clicks above which one key is rarely one visitor."""

FAR_ABOVE_MEAN = 5
"""A key above that share must also have this many times the mean of the other keys."""

ENOUGH = 100
"""Fewest clicks for which such a share is meaningful."""


class Sampled(NamedTuple):
    """A record, and its click."""

    record: SampledRecord
    click: Click


def clicks_taken(subject: DiagnosisInput, runs: Sequence[DryPartition]) -> list[Sampled]:
    """Return the records that are clicks, without those that would be refused or ignored."""
    clicks_of, found = subject.decoder().clicks_of, []
    refused = {(run.partition, letter["offset"]) for run in runs for letter in run.letters}
    for record in subject.records:
        place = record.partition(), record.offset()
        if record.value() is not None and place not in refused:
            with suppress(IgnoredError):
                found += [Sampled(record, click) for click in clicks_of(record)]
    return found


def describe_times(subject: DiagnosisInput, sampled: list[Sampled]) -> Iterator[Finding]:
    """Report the range of the event times, and whether it is plausible."""
    if sampled:
        times = [click.time for _, click in sampled]
        first, last = describe_time(min(times)), describe_time(max(times))
        details = {"first_time": first, "last_time": last}
        yield Finding("ok", f"event times from {first} to {last}", details=details)
    yield from describe_time_problem(subject, subject.records)


def describe_time_problem(
    subject: DiagnosisInput, records: Sequence[SampledRecord]
) -> Iterator[Finding]:
    """Report problems with the event times of records, by partition."""
    now = subject.now
    problem = find_problem(records, subject.decoder(), subject.format, now)
    if problem:
        remedy = remedy_for(problem, records, subject.format, now)
        if problem.level == "error" and not subject.checks_times:
            yield Finding("warning", f"{problem.text} (clicks.check_times = false)", remedy)
        else:
            yield Finding(problem.level, problem.text, remedy)


def describe_heartbeats(subject: DiagnosisInput) -> Iterator[Finding]:
    """Report whether heartbeats have plausible times, in ms."""
    watermarks: dict[int, int] = {}
    for record in subject.records:
        if record.value() is None and (at := _heartbeat(record)) is not None:
            watermarks[at] = record.timestamp()[1]
    samples = [TimeSample(*times) for times in watermarks.items()]
    problem = find_time_problem(samples, subject.now, "ms")
    if problem and problem.level == "error":
        yield Finding(
            "warning",
            f"heartbeats: {problem.text}",
            f"write ms since 1970, in decimal, into the header {WATERMARK_HEADER}",
        )


def _heartbeat(record: SampledRecord) -> int | None:
    try:
        return decode_heartbeat(record.headers())
    except ClickError:
        return None


def describe_keys(subject: DiagnosisInput, sampled: list[Sampled]) -> Iterator[Finding]:
    """Report whether each session key is in one partition, and whether one has too many clicks."""
    if not sampled:
        return
    partitions_of: defaultdict[str, set[int]] = defaultdict(set)
    for record, click in sampled:
        partitions_of[click.key].add(record.partition())
    yield _scattered(partitions_of)
    if finding := _without_key(subject, sampled):
        yield finding
    if finding := _largest(sampled):
        yield finding


def _scattered(partitions_of: dict[str, set[int]]) -> Finding:
    scattered = [key for key, partitions in partitions_of.items() if len(partitions) > 1]
    details = {"keys": len(partitions_of), "scattered_keys": len(scattered)}
    if not scattered:
        text = f"each of {len(partitions_of):,} session keys keeps to one partition"
        return Finding("ok", text, details=details)
    return Finding(
        "error",
        f"{len(scattered):,} of {len(partitions_of):,} session keys sampled are in several "
        f"partitions, {scattered[0]!r:.60} for one: a session would be cut apart",
        "produce clicks with the session key as the record's key, all producers with one "
        "partitioner (librdkafka: partitioner=murmur2_random, as Java's)",
        details,
    )


def _without_key(subject: DiagnosisInput, sampled: list[Sampled]) -> Finding | None:
    """Check whether clicks have record keys: Kafka spreads those without over all partitions."""
    missing = sum(record.key() is None for record, _ in sampled)
    partitions = len(subject.sample().ranges)
    if not missing or partitions < 2:
        return None
    return Finding(
        "warning",
        f"{missing:,} of {len(sampled):,} clicks have no record key: Kafka spreads them over all "
        f"{partitions} partitions",
        "produce clicks with the session key as the record's key",
        {"without_key": missing},
    )


def _largest(sampled: list[Sampled]) -> Finding | None:
    counts = Counter(click.key for _, click in sampled)
    [(key, count)] = counts.most_common(1)
    mean_of_others = (len(sampled) - count) / max(1, len(counts) - 1)
    usual = max(LARGE_SHARE * len(sampled), FAR_ABOVE_MEAN * mean_of_others)
    details = {"largest_key": key, "largest_key_clicks": count}
    share = as_percent(count, len(sampled))
    text = f"session key {key!r:.60} has {count:,} of {len(sampled):,} clicks ({share})"
    if len(sampled) < ENOUGH or count <= usual:
        return Finding("ok", text, details=details)
    return Finding(
        "warning",
        f"{text}: a placeholder for visitors without one, or a bot?",
        "leave such clicks out (clicks.ignore_keys), or give each visit a key of its own",
        details,
    )
