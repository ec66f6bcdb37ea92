"""The ADER folder format: ``period_N.txt[.gz]``, a click a line, ``SESSION ITEM``, in time order.

Period k becomes block k. The files have no times: `spread` generates them.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import zlib
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from io import BufferedReader
from pathlib import Path
from sys import intern

from ader_stream.datasets.dataset import Block
from ader_stream.datasets.spread import spread
from ader_stream.errors import DatasetError, SettingsError
from ader_stream.paths import describe_path
from ader_stream.types import BlockRule, Click

_FILE_NAME = re.compile(r"period_(0|[1-9][0-9]*)\.txt(\.gz)?")

_SHOWN_BYTES = 80
"""Bytes of a malformed line in a message: enough to recognise it, few enough for one line."""


class FolderDataset:
    """A folder of ``period_N.txt[.gz]``.

    Parameters
    ----------
    path
        The folder.
    rule
        Where block k starts and ends.
    gap
        Session gap, ms.

    Raises
    ------
    DatasetError
        The folder does not exist, or a number is missing.
    """

    simulated = False

    def __init__(self, path: Path, rule: BlockRule, gap: int) -> None:
        self.name = path.resolve().name
        self._files = period_files(path)
        self._rule = rule
        self._gap = gap

    @cached_property
    def fingerprint(self) -> str:
        """Return the SHA-256 of period 0, uncompressed."""
        return fingerprint_of(self._files[0])

    def blocks(self) -> Iterator[Block]:
        """Yield the periods as blocks."""
        for number, file in enumerate(self._files):
            yield Block(number, self._timed(number, file))

    def _timed(self, number: int, file: Path) -> list[Click]:
        lines = read_lines(file)
        keys = [key for key, _ in lines]
        try:
            times = spread(keys, self._rule.start(number), self._rule.length_of(number), self._gap)
        except SettingsError as error:
            raise SettingsError(f"{file}: {error}") from None
        return [Click(key, item, time) for (key, item), time in zip(lines, times, strict=True)]


def read_folder_sessions(path: Path, periods: Sequence[int]) -> list[list[tuple[str, ...]]]:
    """Read the sessions of some periods.

    Returns
    -------
    list
        For each period its sessions as item ids, sorted by (last click's line, first click's line,
        key): the order in which the trainer gets the same clicks from the stream.

    Raises
    ------
    DatasetError
        The folder, a period or a line is missing or malformed.
    """
    files = period_files(path)
    for period in periods:
        if not 0 <= period < len(files):
            raise DatasetError(f"{path}: no period {period}; it has 0 to {len(files) - 1}")
    return [_sessions(read_lines(files[period])) for period in periods]


def _sessions(lines: Sequence[tuple[str, str]]) -> list[tuple[str, ...]]:
    """Return sessions by their last line; no two share it, so first line and key never decide."""
    items: dict[str, list[str]] = {}
    for key, item in lines:
        items.setdefault(key, []).append(intern(item))  # most clicks are on items seen before
    last = {key: line for line, (key, _) in enumerate(lines)}
    return [tuple(items[key]) for key in sorted(items, key=last.__getitem__)]


def period_files(path: Path) -> list[Path]:
    """Return the files of all periods, period 0 first.

    Raises
    ------
    DatasetError
        The folder or a period is missing, or a period is there twice.
    """
    if not path.is_dir():
        raise DatasetError(
            f"{path} {describe_path(path)}; expected a folder that holds period_0.txt[.gz], "
            f"period_1.txt[.gz] …{folder_hint(path)}"
        )
    files: dict[int, Path] = {}
    for file in sorted(path.iterdir()):
        if match := _FILE_NAME.fullmatch(file.name):
            other = files.setdefault(int(match[1]), file)
            if other != file:
                raise DatasetError(f"{path}: has {other.name} and {file.name}; keep one of them")
    for number in range(max(files, default=0) + 1):
        if number not in files:
            raise DatasetError(
                f"{path}: no period_{number}.txt[.gz]; expected every period from 0 to the last"
            )
    return [files[number] for number in range(len(files))]


def folder_hint(path: Path) -> str:
    """Return a hint if the path is a period's file: the user may have meant its folder."""
    return f"; name its folder {path.parent}" if _FILE_NAME.fullmatch(path.name) else ""


def fingerprint_of(file: Path) -> str:
    """Return the SHA-256 of a period, uncompressed; raise DatasetError if it cannot be read."""
    try:
        with _open(file) as stream:
            return hashlib.sha256(stream.read()).hexdigest()
    except (OSError, EOFError, zlib.error) as error:
        raise DatasetError(f"{file}: cannot be read: {error}; is the download complete?") from None


def read_lines(file: Path) -> list[tuple[str, str]]:
    """Return (session, item) of every line.

    Raises
    ------
    DatasetError
        Names file and line: the line is not ``SESSION ITEM`` in UTF-8, or the file is empty.
    """
    lines: list[tuple[str, str]] = []
    try:
        with _open(file) as stream:
            lines.extend(_parse_lines(file, stream))
    except (OSError, EOFError, zlib.error) as error:
        raise DatasetError(f"{file}: cannot be read: {error}; is the download complete?") from None
    if not lines:
        raise DatasetError(f"{file}: is empty; expected one click a line, 'SESSION ITEM'")
    return lines


def _parse_lines(file: Path, stream: Iterable[bytes]) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(stream, start=1):
        try:
            key, item = line.removeprefix(BOM_UTF8 if number == 1 else b"").split()
            yield key.decode(), item.decode()
        except ValueError:  # too few, too many, or no UTF-8
            shown = line[:_SHOWN_BYTES].rstrip(b"\r\n")
            raise DatasetError(
                f"{file}, line {number}: {str(shown)[1:]}: expected 'SESSION ITEM', separated by "
                "white space, in UTF-8"
            ) from None


def _open(file: Path) -> gzip.GzipFile | BufferedReader:
    return gzip.open(file) if file.suffix == ".gz" else file.open("rb")
