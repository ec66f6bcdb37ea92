"""Detect the kind of data set at a path."""

from __future__ import annotations

from pathlib import Path

from ader_stream.datasets.dataset import Dataset
from ader_stream.datasets.folder import FolderDataset, folder_hint
from ader_stream.datasets.table_format import TableFormat
from ader_stream.errors import DatasetError
from ader_stream.paths import describe_path
from ader_stream.types import BlockRule

TABLE_SUFFIXES = (".csv", ".csv.gz", ".parquet")

_EXPECTED = "a folder of period_N.txt[.gz], or .csv, .csv.gz or .parquet, as a file or a folder"


def open_dataset(
    path: Path, rule: BlockRule, gap: int, table: TableFormat | None = None
) -> Dataset:
    """Open a folder in the ADER format, or tables with named columns; clicks are read later.

    Parameters
    ----------
    path
        A folder of ``period_N.txt[.gz]``, a CSV or Parquet file, or a folder of such files.
    rule
        How event time is divided into blocks.
    gap
        Session gap, ms; the generated times of the folder format keep to it.
    table
        How tables contain clicks; `TableFormat()` by default.

    Raises
    ------
    DatasetError
        The path has no readable data set.
    """
    if not path.exists():
        raise DatasetError(f"{path} {describe_path(path)}; expected {_EXPECTED}")
    if path.is_dir() and any(path.glob("period_*.txt*")):
        return FolderDataset(path, rule, gap)
    return _open_tables(path, rule, table or TableFormat())


def _open_tables(path: Path, rule: BlockRule, columns: TableFormat) -> Dataset:
    files = table_files(path)
    try:
        # Imported late, because pyarrow is large and optional.
        from ader_stream.datasets.table import TableDataset  # noqa: PLC0415
    except ImportError:
        raise DatasetError(
            f"{path}: CSV and Parquet need pyarrow; pip install 'ader-stream[data]'"
        ) from None
    return TableDataset(path.resolve().name, files, rule, columns)


def table_files(path: Path) -> list[Path]:
    """Return the table itself, or the tables in a folder by name.

    Raises
    ------
    DatasetError
        There is none.
    """
    candidates = sorted(path.iterdir()) if path.is_dir() else [path]
    files = [file for file in candidates if file.name.endswith(TABLE_SUFFIXES)]
    if not files:
        names = ", ".join(file.name for file in candidates[:5]) or "nothing"
        found = f"holds {names}" if path.is_dir() else describe_path(path)
        raise DatasetError(f"{path} {found}; expected {_EXPECTED}{folder_hint(path)}")
    return files
