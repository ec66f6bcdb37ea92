"""Check a sample of the clicks topic: which records are clicks, and which would be refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ader_stream import metrics as m
from ader_stream.errors import ClickError
from ader_stream.stream.clicks.decoder import decode_heartbeat
from ader_stream.stream.clicks.sampled_times import time_format_of
from ader_stream.stream.diagnosis.dry_run import DryPartition, clicks_in
from ader_stream.stream.diagnosis.finding import Finding, as_percent
from ader_stream.stream.diagnosis.subject import DiagnosisInput
from ader_stream.stream.kafka.sampling import SampledRecord

Runs = Sequence[DryPartition]

Letter = Mapping[str, Any]

LATE_SHARE = 0.05
"""Share of late clicks above which a setting is recommended."""

REMEDIES = {
    "malformed": "check clicks.format (`ader-stream guess` proposes one), and clicks.avro_schema "
    "or the schema registry",
    "missing-field": "check clicks.session_field, item_field and time_field (`ader-stream guess` "
    "proposes them); clicks.where leaves out records that are no clicks",
    "bad-value": "check clicks.*_field and clicks.time_format",
    "unknown-schema": "check clicks.registry_url",
    "late": "raise sessions.lateness, or set sessions.late = carry",
    "future": "correct the clock that wrote these times",
}


def describe_contents(subject: DiagnosisInput, runs: Runs) -> Iterator[Finding]:
    """Count the kinds of records."""
    records = [record for run in runs for record in run.records]
    if not records:
        return
    details = _counts(subject, runs, records)
    which = "all" if details["is_whole_log"] else "the newest"
    kinds = ", ".join(f"{details[kind]:,} {kind}" for kind in _SHOWN if details[kind])
    text = f"{which} {len(records):,} records of {len(runs)} partitions: {kinds or 'no click'}"
    yield Finding("ok", text, details=details)
    yield from _unread(details)
    yield from _misplaced(details)


def _counts(
    subject: DiagnosisInput, runs: Runs, records: Sequence[SampledRecord]
) -> dict[str, int]:
    """Return how many records of the sample are of each kind."""
    empty = Counter(_kind_of_empty(record) for record in records if record.value() is None)
    refused = sum(clicks_in(letter) for run in runs for letter in run.letters)
    ignored, read = sum(run.ignored for run in runs), sum(run.read for run in runs)
    return {
        "records": len(records),
        "is_whole_log": subject.sample().is_whole,
        "clicks": read - refused + empty["refused"] - ignored,
        "heartbeats": empty["heartbeats"],
        "tombstones": empty["tombstones"],
        "ignored": ignored,
        "refused": refused,
        "duplicates": _total(runs, m.DUPLICATES),
        "late": _total(runs, m.LATE),
        "quarantined": _total(runs, m.HELD),
        "unread": subject.sample().unread,
    }


def _unread(details: Mapping[str, int]) -> Iterator[Finding]:
    """Report a sample without clicks, and records that cannot be read now."""
    if details["ignored"] and not details["clicks"]:
        yield Finding(
            "error",
            f"{details['ignored']:,} of {details['records']:,} records are ignored by "
            "clicks.where and clicks.ignore_keys, and no click is left",
            "check clicks.where and clicks.ignore_keys, or wait for clicks",
        )
    if details["unread"]:
        yield Finding(
            "warning",
            f"{details['unread']:,} more records wait for the schema registry, which does not "
            "know or say their schemas now",
            "check clicks.registry_url and the registry",
        )


def _misplaced(details: Mapping[str, int]) -> Iterator[Finding]:
    """Report clicks that are ahead of their partition's event time, or behind it."""
    if details["quarantined"]:
        yield Finding(
            "warning",
            f"{details['quarantined']:,} of {details['clicks']:,} clicks are quarantined: they "
            "are further ahead of their partition's event time than clicks.max_jump, and wait for "
            "clicks of other visitors to confirm them",
            "wait for these, or raise clicks.max_jump if such pauses are usual",
        )
    if details["late"] > LATE_SHARE * details["clicks"]:
        yield Finding(
            "warning",
            f"{details['late']:,} of {details['clicks']:,} clicks are late: they move to the time "
            "that their partition has reached",
            "raise sessions.lateness, or write each visitor's clicks in the order of time",
        )


def describe_refusals(
    subject: DiagnosisInput, runs: Runs, noun: str = "clicks"
) -> Iterator[Finding]:
    """Report which clicks would become dead letters, why, and whether the worker would stop.

    `noun` is the name of the records in the texts.
    """
    letters = [letter for run in runs for letter in run.letters]
    clicks = sum(run.read - run.ignored for run in runs)
    stop = next((run.stop for run in runs if run.stop), "")
    if stop:
        yield Finding("error", f"the sessionizer would stop: {stop}")
    is_most = 2 * sum(map(clicks_in, letters)) > clicks
    by_reason = Counter[str]()
    for letter in letters:
        by_reason[letter["reason"]] += clicks_in(letter)
    for reason, count in by_reason.most_common():
        example = next(letter for letter in letters if letter["reason"] == reason)
        yield Finding(
            "error" if is_most or stop else "warning",
            f"{count:,} of {clicks:,} {noun} ({as_percent(count, clicks)}) would become dead "
            f"letters, {reason}: partition {example['partition']}, offset {example['offset']}: "
            f"{example['error']}",
            _remedy(subject, runs, reason),
            {"reason": reason, "count": count, "offset": example["offset"]},
        )


def _kind_of_empty(record: SampledRecord) -> str:
    try:
        return "tombstones" if decode_heartbeat(record.headers()) is None else "heartbeats"
    except ClickError:
        return "refused"


_SHOWN = (
    "clicks",
    "heartbeats",
    "tombstones",
    "ignored",
    "refused",
    "duplicates",
    "late",
    "quarantined",
)


def _total(runs: Runs, metric: m.Metric[Any]) -> int:
    return sum(run.total(metric) for run in runs)


def _remedy(subject: DiagnosisInput, runs: Runs, reason: str) -> str:
    """Return the setting with which these clicks would be accepted, if one is known."""
    refused = {
        (letter["partition"], letter["offset"])
        for run in runs
        for letter in run.letters
        if letter["reason"] == reason
    }
    records = [r for run in runs for r in run.records if (r.partition(), r.offset()) in refused]
    if reason == "bad-value" and (other := time_format_of(records, subject.format, subject.now)):
        return f"set clicks.time_format = {other}: these clicks can be read then"
    return REMEDIES.get(reason, "look at `ader-stream dead-letters list`")
