"""Decode many records at once: those that are plain clicks, without fields that pass through."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any, NamedTuple

from ader_stream.errors import ClickError, IgnoredError
from ader_stream.stream.clicks.click_format import ClickFormat
from ader_stream.stream.clicks.event_times import MAX_TIME
from ader_stream.stream.clicks.fields import RESERVED_KEY
from ader_stream.stream.clicks.formats.values import ReadMany, ValueReaders
from ader_stream.stream.kafka.records import Record
from ader_stream.types import Click

NOT_PLAIN = -(2**63)
"""In place of an event time: the record is not a click, or it has fields that pass through."""

NUMBERS_BYTES = 64
"""Bytes by which a click's decimal numbers may be longer than their encoded value."""

FEW_RECORDS = 16
"""Number of clicks below which decoding one by one is faster."""

Decode = Callable[[Record], Click]
DecodePlain = Callable[[Sequence[Record]], "PlainClicks"]


class PlainClicks(NamedTuple):
    """Fields of records as columns of equal length; a time of `NOT_PLAIN` means: call `decode`.

    There are event ids if the format names their field; None means: call `decode`. `ignored` has
    the positions of records that are no clicks by the settings, and the reasons (`IgnoredError`).
    """

    keys: list[str]
    items: list[str]
    times: list[int]
    event_ids: list[str | None] | None
    ignored: Mapping[int, str] = {}


def plain_decoder(
    format: ClickFormat,  # noqa: A002 - the field's own word
    readers: ValueReaders,
    decode: Decode,
) -> DecodePlain:
    """Return a decoder of many records; `decode` decodes one."""
    if format.extra or format.explode:
        return _none_plain
    one_by_one = _one_by_one(decode, has_event_ids=bool(format.event_id))
    if readers.many is None or format.time_format != "ms" or format.where:
        return one_by_one
    return _side_by_side(format, readers.many, one_by_one)


def _none_plain(records: Sequence[Record]) -> PlainClicks:
    no_texts = [""] * len(records)
    return PlainClicks(no_texts, no_texts, [NOT_PLAIN] * len(records), None)


def _one_by_one(decode: Decode, *, has_event_ids: bool) -> DecodePlain:
    def one_by_one(records: Sequence[Record]) -> PlainClicks:
        ignored: dict[int, str] = {}
        clicks = [_plain(decode, record, at, ignored) for at, record in enumerate(records)]
        keys, items, times, event_ids = map(list, zip(*clicks, strict=True))
        return PlainClicks(keys, items, times, event_ids if has_event_ids else None, ignored)

    return one_by_one


def _side_by_side(
    format: ClickFormat,  # noqa: A002
    read_many: ReadMany,
    one_by_one: DecodePlain,
) -> DecodePlain:
    surely_fits, ignored_keys = format.max_bytes - NUMBERS_BYTES, frozenset(format.ignore_keys)

    def side_by_side(records: Sequence[Record]) -> PlainClicks:
        columns = None
        if len(records) >= FEW_RECORDS:
            columns = read_many([record.value() or b"" for record in records])
        if columns is None:
            return one_by_one(records)
        keys, items, times, *event_ids = (list(column) for column in columns.fields)
        _make_texts(keys, items, *event_ids)
        others = (
            *columns.left_out,
            *columns.longer_than(surely_fits),
            *_refusable(times, keys, items, *event_ids),
            *_with_key(keys, ignored_keys),
        )
        for position in others:
            times[position] = NOT_PLAIN
            for ids in event_ids:
                ids[position] = None
        return PlainClicks(keys, items, times, event_ids[0] if event_ids else None)

    return side_by_side


def _with_key(keys: Sequence[str], ignored: Set[str]) -> list[int]:
    """Return the positions of some keys: only few batches have one."""
    if ignored.isdisjoint(keys):
        return []
    return [position for position, key in enumerate(keys) if key in ignored]


def _plain(
    decode: Decode, record: Record, position: int, ignored: dict[int, str]
) -> tuple[str, str, int, str | None]:
    try:
        key, item, time, event_id, _ = decode(record)
    except IgnoredError as error:
        if record.value() is not None:
            ignored[position] = error.reason
        return "", "", NOT_PLAIN, None
    except ClickError:
        return "", "", NOT_PLAIN, None
    return key, item, time, event_id


def _make_texts(*columns: list[Any]) -> None:
    """Convert whole numbers to texts."""
    for column in columns:
        if column and type(column[0]) is int:
            column[:] = map(str, column)


def _refusable(times: list[int], keys: list[str], *others: list[str]) -> list[int]:
    """Return positions of values that `decode` may refuse: only few batches have one."""
    if (
        min(times) >= 0
        and max(times) <= MAX_TIME
        and not any("" in column for column in (keys, *others))
        and RESERVED_KEY not in "\n".join(keys)
    ):
        return []
    return [
        position
        for position, (time, key, *texts) in enumerate(zip(times, keys, *others, strict=True))
        if not (0 <= time <= MAX_TIME and key and all(texts)) or key.startswith(RESERVED_KEY)
    ]
