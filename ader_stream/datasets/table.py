"""CSV and Parquet files with named columns for session (or user), item and time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from ader_stream.datasets.dataset import Block
from ader_stream.datasets.table_columns import RowError, has_unit, parse_texts, parse_times
from ader_stream.datasets.table_format import TableFormat
from ader_stream.datasets.table_times import require_plausible_times
from ader_stream.errors import DatasetError
from ader_stream.types import SECOND_MS, BlockRule, Click


class TableDataset:
    """Tables of clicks, in any order; every click keeps its own time.

    While blocks are read, three columns of all files are in memory as Arrow arrays: strings and
    eight bytes a click, no Python objects.

    Parameters
    ----------
    name
        Name in reports.
    files
        ``.csv``, ``.csv.gz`` or ``.parquet``. Clicks with equal times keep the order of files and
        rows.
    rule
        How event time is divided into blocks.
    format
        Names and formats of the columns.
    clock
        Returns seconds since 1970; clicks after it are refused.
    """

    simulated = False
    fingerprint = None

    def __init__(
        self,
        name: str,
        files: Sequence[Path],
        rule: BlockRule,
        format: TableFormat,  # noqa: A002 - the field's own word
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self._files = files
        self._rule = rule
        self._format = format
        self._clock = clock

    def blocks(self) -> Iterator[Block]:
        """Sort by time, then yield block after block."""
        table, unit = self._read()
        table = table.sort_by("time")  # stable
        times = table["time"].to_numpy()
        if not self._format.any_time:
            require_plausible_times(self.name, times, int(self._clock() * SECOND_MS), unit)
        first = 0
        while first < len(times):
            number = self._rule.block_of(int(times[first]))
            end = int(np.searchsorted(times, self._rule.start(number + 1)))
            yield Block(number, _clicks(table.slice(first, end - first)))
            first = end

    def _read(self) -> tuple[pa.Table, str]:
        """Return all rows, and the unit in which the first file's times were read, if any."""
        tables, units = zip(*(read_table(f, self._format) for f in self._files), strict=True)
        table = pa.concat_tables(tables)
        if not table.num_rows:
            raise DatasetError(f"{self._files[0]}: holds no click; expected one a row")
        return table, units[0]


def _clicks(table: pa.Table) -> list[Click]:
    columns = (table[name].to_pylist() for name in ("session", "item", "time"))
    return [Click(key, item, time) for key, item, time in zip(*columns, strict=True)]


def read_table(file: Path, format: TableFormat) -> tuple[pa.Table, str]:  # noqa: A002
    """Read one file as session (string), item (string) and time (ms, int64), in file order.

    Returns
    -------
    tuple
        The table, and the unit in which its times were read; empty if they need none.

    Raises
    ------
    DatasetError
        Names the file, and columns or row: it cannot be read, a column is missing, or a row has a
        missing or invalid value.
    """
    is_csv = not file.name.endswith(".parquet")
    try:
        raw = (_read_csv if is_csv else _read_parquet)(file, format)
        columns = {
            "session": parse_texts(raw[format.session]),
            "item": parse_texts(raw[format.item]),
            "time": parse_times(raw[format.time], format.time_unit),
        }
        return pa.table(columns), format.time_unit if has_unit(raw[format.time]) else ""
    except RowError as error:
        # Line 1 of a CSV file is its header; line breaks within quotes shift the number.
        place = f"line {error.row + 2}" if is_csv else f"row {error.row + 1}"
        raise DatasetError(f"{file}, {place}: {error}") from None
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(f"{file}: cannot be read: {str(error).splitlines()[0]}") from None


def _read_csv(file: Path, format: TableFormat) -> pa.Table:  # noqa: A002
    """Read columns as they are written: an item ``007`` or ``NA`` is not changed."""
    # One thread: only then does an error contain its row.
    read = pa.csv.ReadOptions(use_threads=False)
    parse = pa.csv.ParseOptions(delimiter=format.delimiter, ignore_empty_lines=False)
    with pa.csv.open_csv(file, read_options=read, parse_options=parse) as header:
        _require_columns(file, format, header.schema.names)
    return pa.csv.read_csv(
        file,
        read_options=read,
        parse_options=parse,
        convert_options=pa.csv.ConvertOptions(
            column_types=dict.fromkeys(format.columns, pa.large_string()),
            include_columns=list(dict.fromkeys(format.columns)),
        ),
    )


def _read_parquet(file: Path, format: TableFormat) -> pa.Table:  # noqa: A002
    with pa.parquet.ParquetFile(file) as parquet:
        _require_columns(file, format, parquet.schema_arrow.names)
        return parquet.read(columns=list(format.columns))


def _require_columns(file: Path, format: TableFormat, found: Sequence[str]) -> None:  # noqa: A002
    missing = [name for name in format.columns if name not in found]
    if missing:
        raise DatasetError(
            f"{file}: no column {', '.join(missing)}; it has {', '.join(found)}; name the "
            "columns of session (or user), item and time"
        )
