"""Translate a column of times to SQL that returns milliseconds."""

from __future__ import annotations

import re
from typing import NamedTuple

from ader_stream.datasets.tables.columns import Expression
from ader_stream.datasets.tables.layout import TableLayout
from ader_stream.datasets.tables.sources import quoted_text
from ader_stream.errors import DatasetError
from ader_stream.plausible_times import UNITS_PER_SECOND
from ader_stream.types import SECOND_MS

END_OF_TIME_MS = 253_402_300_800_000
"""The year 10000: a later time was read in the wrong unit."""

_INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")
WHOLE_TYPES = (*_INTEGERS, *(f"U{name}" for name in _INTEGERS))


class TimeForm(NamedTuple):
    """A form of times that are texts.

    Parameters
    ----------
    name
        Its name in messages.
    pattern
        What the first text must match as a whole.
    sql
        Reads ``{x}``, a text; null if it cannot.
    """

    name: str
    pattern: str
    sql: str


_DAY = r"\d{4}-\d\d-\d\d"
_CLOCK = r"\d\d:\d\d(:\d\d([.,]\d+)?)?"
_ZONE = r" ?(Z|z|UTC|GMT|[+-]\d\d(:?\d\d)?)(\[[\w/+-]+\])?"

_CLEANED = (
    r"regexp_replace(regexp_replace(replace(upper(regexp_replace({x}, '\[.*\]$', '')), ',', '.'), "
    r"' ?(UTC|GMT|Z)$', '+00'), ' ([+-])', '\1')"
)

FORMS = (
    TimeForm(
        "ISO 8601 with a zone",
        rf"{_DAY}[Tt ]{_CLOCK}{_ZONE}",
        f"CASE WHEN regexp_matches({{x}}, ':[0-9.,]+ ?([Zz]|UTC|GMT|[+-][0-9:]+)')"
        f" THEN epoch_ms(try_cast({_CLEANED} AS TIMESTAMPTZ)) END",
    ),
    TimeForm(
        "ISO 8601 without a zone",
        rf"{_DAY}([Tt ]{_CLOCK})?",
        "CASE WHEN NOT regexp_matches({x}, ':[0-9.,]+ ?([Zz]|UTC|GMT|[+-][0-9:]+)')"
        " THEN epoch_ms(try_cast(replace({x}, ',', '.') AS TIMESTAMP)) END",
    ),
    TimeForm(
        "compact ISO 8601",
        r"\d{8}T\d{6}Z?",
        "epoch_ms(try_strptime({x}, ['%Y%m%dT%H%M%SZ', '%Y%m%dT%H%M%S']))",
    ),
    TimeForm(
        "the time of a web server's log",
        r"\[?\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\]?",
        "epoch_ms(try_strptime(trim({x}, '[]'), '%d/%b/%Y:%H:%M:%S %z')::TIMESTAMPTZ)",
    ),
    TimeForm(
        "RFC 2822",
        r"\w{3}, \d{1,2} \w{3} \d{4} \d\d:\d\d:\d\d (GMT|UTC|[+-]\d{4})",
        "epoch_ms(try_strptime(regexp_replace({x}, '(GMT|UTC)$', '+0000'), "
        "'%a, %d %b %Y %H:%M:%S %z')::TIMESTAMPTZ)",
    ),
)

_NUMBER = re.compile(r"[-+]?\d+(\.\d*)?([eE][-+]?\d+)?")


class TimeReader(NamedTuple):
    """How a column's times are read.

    Parameters
    ----------
    sql
        Milliseconds; null where the value cannot be read.
    expected
        What a value must be, in messages.
    unit
        Unit in which numbers are read; empty for other times.
    """

    sql: str
    expected: str
    unit: str = ""


def time_reader(time: Expression, first: str | None, layout: TableLayout) -> TimeReader:
    """Return how to read times.

    Parameters
    ----------
    time
        The column.
    first
        Its first value as text; None without one.
    layout
        Has the unit or format.

    Raises
    ------
    DatasetError
        The column's type or the first value is no time.
    """
    unit = layout.time_unit
    if time.type.startswith("TIMESTAMP") or time.type == "DATE":
        zoned = time.type == "TIMESTAMP WITH TIME ZONE"
        cast = time.sql if zoned else f"({time.sql})::TIMESTAMP"
        return _in_range(f"epoch_ms({cast})", "a time between 1970 and 9999")
    if time.type in WHOLE_TYPES:
        return _in_range(whole_to_ms(f"({time.sql})::HUGEINT", unit), _number(unit), unit)
    if time.type in ("FLOAT", "DOUBLE") or time.type.startswith("DECIMAL"):
        return _in_range(fraction_to_ms(f"({time.sql})::DOUBLE", unit), _number(unit), unit)
    if time.type not in ("VARCHAR", "JSON"):
        raise DatasetError(f"a {time.type}: expected numbers, timestamps or ISO 8601 as time")
    if layout.time_format:
        sql = f"epoch_ms(try_strptime({time.text}, {quoted_text(layout.time_format)})::TIMESTAMPTZ)"
        return _in_range(sql, f"a time of the form {layout.time_format}")
    return _of_texts(time, first, unit)


def _of_texts(time: Expression, first: str | None, unit: str) -> TimeReader:
    if first is None or _NUMBER.fullmatch(first):
        return _in_range(number_to_ms(time, unit), f"{_number(unit)}, as in the first row", unit)
    for form in FORMS:
        if re.fullmatch(form.pattern, first):
            return _in_range(form.sql.replace("{x}", time.text), f"{form.name}, as the first row")
    raise DatasetError(
        f"time {first!r}: expected a number, ISO 8601, RFC 2822 or the form of a web server's log; "
        "describe another form with --time-format, '%m/%d/%Y %I:%M:%S %p' say"
    )


def number_to_ms(number: Expression, unit: str) -> str:
    """Return SQL that reads numbers, which may be texts, in `unit`; whole ones stay exact."""
    if number.type in WHOLE_TYPES:
        return whole_to_ms(f"({number.sql})::HUGEINT", unit)
    if number.type not in ("VARCHAR", "JSON"):
        return fraction_to_ms(f"({number.sql})::DOUBLE", unit)
    text = number.text
    type_ = "BIGINT" if unit == "ms" else "HUGEINT"  # a product may be too large for BIGINT
    whole = whole_to_ms(f"try_cast({text} AS {type_})", unit)
    fraction = fraction_to_ms(f"try_cast({text} AS DOUBLE)", unit)
    digits_alone = f"NOT (contains({text}, '.') OR contains(lower({text}), 'e'))"
    return f"CASE WHEN {digits_alone} THEN {whole} ELSE {fraction} END"


def whole_to_ms(sql: str, unit: str) -> str:
    """Return SQL that scales whole numbers of `unit` to ms."""
    per_second = UNITS_PER_SECOND[unit]
    if per_second == SECOND_MS:
        return sql
    if per_second > SECOND_MS:
        return f"({sql} // {per_second // SECOND_MS})"
    return f"({sql} * {SECOND_MS // per_second})"


def fraction_to_ms(sql: str, unit: str) -> str:
    """Return SQL that scales fractions of `unit` to ms, rounded."""
    return f"round({sql} / {UNITS_PER_SECOND[unit]} * {SECOND_MS})"


def _number(unit: str) -> str:
    return f"a number of {unit} between 1970 and 9999"


def _in_range(sql: str, expected: str, unit: str = "") -> TimeReader:
    """Read values out of range as null."""
    limited = f"CASE WHEN {sql} BETWEEN 0 AND {END_OF_TIME_MS - 1} THEN ({sql})::BIGINT END"
    return TimeReader(limited, expected, unit)
