"""Names and formats of the columns of a table."""

from __future__ import annotations

from dataclasses import dataclass

from ader_stream.errors import SettingsError
from ader_stream.plausible_times import UNITS_PER_SECOND


@dataclass(frozen=True, slots=True)
class TableFormat:
    """How a CSV or Parquet file contains clicks.

    Parameters
    ----------
    session, item, time
        Names of the columns; `session` may also name a user.
    time_unit
        Unit of times that are numbers: ``s``, ``ms``, ``us`` or ``ns`` since 1970. Timestamps and
        ISO 8601 strings need none; without a zone they are UTC.
    delimiter
        Separator between the fields of a CSV file.
    any_time
        Also accept times that no click can have: before 2000, in the future, or all equal.

    Raises
    ------
    SettingsError
        The unit or the delimiter cannot be used.
    """

    session: str = "session"
    item: str = "item"
    time: str = "time"
    time_unit: str = "ms"
    delimiter: str = ","
    any_time: bool = False

    def __post_init__(self) -> None:
        if self.time_unit not in UNITS_PER_SECOND:
            units = ", ".join(UNITS_PER_SECOND)
            raise SettingsError(f"time unit {self.time_unit!r}: expected one of {units}")
        if len(self.delimiter) != 1 or self.delimiter in '"\r\n':
            raise SettingsError(f"delimiter {self.delimiter!r}: expected one character, as , ; |")

    @property
    def columns(self) -> tuple[str, str, str]:
        """Return the names of the columns that are read."""
        return self.session, self.item, self.time
