"""Where session, item and time are in a table: presets, ``dataset.toml`` beside it, and options."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from importlib import resources
from pathlib import Path
from typing import Any

from ader_stream.errors import DatasetError, SettingsError
from ader_stream.plausible_times import UNITS_PER_SECOND
from ader_stream.stream.clicks.language.filters import parse_filter

LAYOUT_FILE = "dataset.toml"
"""Describes the tables in its folder."""

ROW = "$row"
"""Number of the row: as session, each row is one; as time, only the order of rows is known."""


@dataclass(frozen=True, slots=True)
class TableLayout:
    """How files contain clicks.

    Parameters
    ----------
    session, item, time
        Names of columns or paths, as of clicks in a topic: ``user.id``, ``a | b``, ``a + b``;
        also the number of a column, from 1, or ``$row``. `session` may also name a user.
    time_unit
        Unit of times that are numbers: ``s``, ``ms``, ``us`` or ``ns`` since 1970. Timestamps and
        ISO 8601 texts need none; without a zone they are UTC.
    time_format
        Format of times as for `strptime`, where they are texts of another form; empty for those
        that are recognised.
    time_offset, offset_unit
        Column of a number that is added to the time, and its unit.
    where
        Filter of rows, as ``clicks.where``; empty keeps all.
    explode
        Column of a list: each of its elements is a row.
    item_pattern
        Regular expression: every match in a cell is an item, its first group if it has one. Empty
        for one item a cell, or a list.
    header
        The first line of a CSV file has the names of the columns.
    delimiter, quote, encoding
        Of CSV files. An empty delimiter is detected in the first line; an empty quote means that
        quotes are ordinary characters.
    files
        Pattern of the names of files in a folder, ``*clicks*.dat``; empty for all tables.
    equal_blocks
        Number of blocks with about equally many clicks each, instead of blocks of time: where only
        the order is known (0: ten), and in an evaluation.
    any_time
        Also accept times that no click can have: before 2000, in the future, or all equal.

    Raises
    ------
    SettingsError
        A value cannot be used.
    """

    session: str = "session"
    item: str = "item"
    time: str = "time"
    time_unit: str = "ms"
    time_format: str = ""
    time_offset: str = ""
    offset_unit: str = "ms"
    where: str = ""
    explode: str = ""
    item_pattern: str = ""
    header: bool = True
    delimiter: str = ""
    quote: str = '"'
    encoding: str = ""
    files: str = ""
    equal_blocks: int = 0
    any_time: bool = False

    def __post_init__(self) -> None:
        for unit in (self.time_unit, self.offset_unit):
            if unit not in UNITS_PER_SECOND:
                units = ", ".join(UNITS_PER_SECOND)
                raise SettingsError(f"time unit {unit!r}: expected one of {units}")
        if len(self.delimiter.encode()) > 4 or set(self.delimiter) & set('"\r\n'):
            raise SettingsError(
                f"delimiter {self.delimiter!r}: expected one to four bytes, as , ; | ::"
            )
        if len(self.quote) > 1:
            raise SettingsError(f"quote {self.quote!r}: expected one character, or none")
        if self.equal_blocks < 0:
            raise SettingsError(f"equal_blocks {self.equal_blocks}: expected 0 or more")
        if self.where:
            parse_filter(self.where)

    @property
    def has_order_only(self) -> bool:
        """Return whether clicks have no times."""
        return self.time == ROW


_TYPES = {field.name: str(field.type) for field in fields(TableLayout)}


def layout_for(path: Path, preset: str = "", /, **given: object) -> TableLayout:
    """Return the layout of a table or a folder of tables.

    Options overrule the ``dataset.toml`` beside the file or in the folder, which overrules the
    preset.

    Parameters
    ----------
    path
        The data set.
    preset
        Name of a published layout; empty for none, or for that of ``dataset.toml``.
    given
        Fields of `TableLayout`; None stands for one that is not given.

    Raises
    ------
    DatasetError
        ``dataset.toml`` is malformed.
    SettingsError
        There is no such preset, or a value cannot be used.
    """
    beside = _read_beside(path)
    name = preset or str(beside.pop("preset", ""))
    beside.pop("preset", None)
    options = {key: value for key, value in given.items() if value is not None}
    of_preset = preset_layout(name) if name else {}
    return TableLayout(**(of_preset | beside | options))


def preset_names() -> list[str]:
    """Return the names of all presets."""
    files = resources.files("ader_stream.datasets").joinpath("presets").iterdir()
    return sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml"))


def preset_layout(name: str) -> dict[str, Any]:
    """Return the fields of a preset that differ from the defaults.

    >>> preset_layout("retailrocket")["where"]
    'event == "view"'
    """
    if name not in preset_names():
        raise SettingsError(f"preset {name!r}: expected one of {', '.join(preset_names())}")
    file = resources.files("ader_stream.datasets").joinpath("presets", f"{name}.toml")
    preset = tomllib.loads(file.read_text(encoding="utf-8"))
    del preset["about"]
    return preset


def describe_preset(name: str) -> str:
    """Return which data set a preset reads."""
    file = resources.files("ader_stream.datasets").joinpath("presets", f"{name}.toml")
    return str(tomllib.loads(file.read_text(encoding="utf-8"))["about"])


def _read_beside(path: Path) -> dict[str, Any]:
    file = (path if path.is_dir() else path.parent) / LAYOUT_FILE
    if not file.is_file():
        return {}
    try:
        layout = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except (ValueError, OSError) as error:
        raise DatasetError(f"{file}: cannot be read: {error}; expected TOML") from None
    for name, value in layout.items():
        expected = _TYPES.get(name, "str" if name == "preset" else "")
        if not expected:
            names = ", ".join(["preset", *_TYPES])
            raise DatasetError(f"{file}: {name}: expected one of {names}")
        if type(value).__name__ != expected:
            raise DatasetError(f"{file}: {name} = {value!r}: expected {_NAMED[expected]}")
    return layout


_NAMED = {"str": "a text in quotes", "bool": "true or false", "int": "a whole number"}
