"""Types of settings: durations, points in time and names of fields."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

from ader_stream.errors import SettingsError
from ader_stream.stream.clicks.language.filters import parse_filter
from ader_stream.stream.clicks.language.paths import parse_field
from ader_stream.times import parse_duration, parse_instant


def check_field_name(name: str) -> str:
    """Refuse a path that cannot be parsed.

    >>> check_field_name("event.user.id")
    'event.user.id'

    Raises
    ------
    ValueError
        Names the place in the path, and what is expected there.
    """
    try:
        parse_field(name)
    except SettingsError as error:
        raise ValueError(str(error)) from None
    return name


def check_filter(text: str) -> str:
    """Refuse a filter that cannot be parsed; empty: no filter.

    >>> check_filter('event == "view"')
    'event == "view"'

    Raises
    ------
    ValueError
        Names the place in the filter, and what is expected there.
    """
    try:
        if text.strip():
            parse_filter(text)
    except SettingsError as error:
        raise ValueError(str(error)) from None
    return text.strip()


def parse_timeout(value: object) -> int | None:
    """Read a duration as milliseconds, or ``off`` as None.

    >>> parse_timeout("1m"), parse_timeout("off")
    (60000, None)

    Raises
    ------
    ValueError
        If it is neither.
    """
    return None if str(value).strip() == "off" else parse_duration(value)


Timeout = Annotated[int | None, BeforeValidator(parse_timeout)]
Duration = Annotated[int, BeforeValidator(parse_duration)]
Instant = Annotated[int, BeforeValidator(parse_instant)]
FilterText = Annotated[str, AfterValidator(check_filter)]
FieldName = Annotated[str, AfterValidator(check_field_name)]
