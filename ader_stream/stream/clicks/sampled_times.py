"""Check the event times of sampled clicks before a worker reads the topic with its settings."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby

from ader_stream.errors import AderError, DecodeError, NotYetError
from ader_stream.plausible_times import (
    NO_TIMESTAMP,
    UNITS_PER_SECOND,
    TimeProblem,
    TimeSample,
    find_time_problem,
    is_absurd,
)
from ader_stream.stream.clicks.decoder import ClickDecoder, ClickFormat
from ader_stream.stream.clicks.event_times import TIME_FORMATS, any_time_reader
from ader_stream.stream.clicks.fields import Fields, optional
from ader_stream.stream.kafka.records import Record
from ader_stream.stream.kafka.sampling import SampledRecord

REGISTRY_SECONDS = 5.0
"""Seconds to wait for the schema registry before clicks are checked without it."""


def find_problem(
    records: Sequence[Record],
    decoder: ClickDecoder,
    format: ClickFormat,  # noqa: A002 - the field's own word
    now: int,
) -> TimeProblem | None:
    """Return the most severe problem with the event times of records, or None.

    Each partition is checked alone, and all of them together: a partition may have its own
    producer.

    Parameters
    ----------
    records
        Records of one topic, by partition; `decoder.check_readable` has accepted them.
    now
        Current time, ms.
    """
    samples = dict(_time_samples(records, decoder, format))
    unit = unit_of(format)
    groups = [list(group) for _, group in groupby(samples, key=lambda record: record[0])]
    judged = [samples.values(), *([samples[place] for place in group] for group in groups)]
    problems = [find_time_problem(list(some), now, unit) for some in judged]
    found = [problem for problem in problems if problem]
    return next((problem for problem in found if problem.level == "error"), next(iter(found), None))


def unit_of(format: ClickFormat) -> str:  # noqa: A002
    """Return the unit in which event times are read; empty if they have none."""
    if format.reads_record_time:
        return "ms"
    return format.time_format if format.time_format in UNITS_PER_SECOND else ""


def remedy_for(
    problem: TimeProblem,
    records: Sequence[Record],
    format: ClickFormat,  # noqa: A002
    now: int,
) -> str:
    """Return the setting that fixes the problem; other units were tried on the records."""
    if problem.remedy:
        return problem.remedy
    if format.reads_record_time:
        return "name the event time's field in clicks.time_field, or correct the producer's clock"
    if problem.unit in TIME_FORMATS and _helps(problem.unit, records, format, now):
        return f"set clicks.time_format = {problem.unit}"
    return f"check clicks.time_field = {format.time} and clicks.time_format = {format.time_format}"


def time_format_of(
    records: Sequence[Record],
    format: ClickFormat,  # noqa: A002
    now: int,
) -> str:
    """Return the format in which the times of refused records can be read; empty: none."""
    others = [name for name in TIME_FORMATS if name != format.time_format]
    if format.reads_record_time:
        return ""
    return next((name for name in others if _reads_all(records, name, format, now)), "")


def _fields(decoder: ClickDecoder, record: Record) -> Fields:
    try:
        return decoder.read_fields(record)
    except DecodeError:
        return {}


def _reads_all(records: Sequence[Record], time_format: str, format: ClickFormat, now: int) -> bool:  # noqa: A002
    decode = ClickDecoder(replace(format, time_format=time_format)).decode
    try:
        times = [decode(record).time for record in records]
    except AderError:
        return False
    return not any(is_absurd(time, now) for time in times)


def _helps(time_format: str, records: Sequence[Record], format: ClickFormat, now: int) -> bool:  # noqa: A002
    """Return whether another format gives plausible times; Avro timestamps are alike in each."""
    other = replace(format, time_format=time_format)
    try:
        samples = [sample for _, sample in _time_samples(records, ClickDecoder(other), other)]
    except AderError:  # the schema registry may be unavailable now
        return True
    return 2 * sum(is_absurd(sample.time, now) for sample in samples) < len(samples)


def readable(records: Sequence[SampledRecord], decoder: ClickDecoder) -> Iterator[SampledRecord]:
    """Yield records, by partition, up to the first one whose schema is not available.

    It waits for a schema registry for a limited time.
    """
    until = time.monotonic() + REGISTRY_SECONDS
    for _, group in groupby(records, key=SampledRecord.partition):
        of_partition = list(group)
        while error := _not_yet(of_partition, decoder):
            if time.monotonic() + error.retry_after > until:
                yield from (record for record in of_partition if record.offset() < error.offset)
                return
            time.sleep(error.retry_after)
        yield from of_partition


def _not_yet(records: Sequence[SampledRecord], decoder: ClickDecoder) -> NotYetError | None:
    """Return why some of the records cannot be read yet, if there are such."""
    try:
        decoder.check_readable(records)
    except NotYetError as error:
        return error
    return None


def _time_samples(
    records: Iterable[Record],
    decoder: ClickDecoder,
    format: ClickFormat,  # noqa: A002
) -> Iterator[tuple[tuple[int, int], TimeSample]]:
    """Yield partition and offset, and the times, of records that have an event time."""
    is_own = format.reads_record_time
    read_time = any_time_reader("ms" if is_own else format.time_format)
    field = optional(format.fields.time, None)
    for record in records:
        if record.value() is None:
            continue
        if (time := read_time(field(_fields(decoder, record)))) >= 0:
            timestamp = NO_TIMESTAMP if is_own else record.timestamp()[1]
            yield (record.partition(), record.offset()), TimeSample(time, timestamp)
