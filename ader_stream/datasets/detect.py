"""Detect the kind of data set at a path."""

from __future__ import annotations

from pathlib import Path

from ader_stream.datasets.dataset import Dataset
from ader_stream.datasets.folder import FolderDataset
from ader_stream.datasets.tables.files import EXPECTED, table_files
from ader_stream.datasets.tables.layout import TableLayout, layout_for
from ader_stream.errors import DatasetError
from ader_stream.paths import describe_path
from ader_stream.types import BlockRule


def is_period_folder(path: Path) -> bool:
    """Return whether a path is a folder in the ADER format."""
    return path.is_dir() and any(path.glob("period_*.txt*"))


def open_dataset(
    path: Path, rule: BlockRule, gap: int, layout: TableLayout | None = None
) -> Dataset:
    """Open a folder in the ADER format, or tables; clicks are read later.

    Parameters
    ----------
    path
        A folder of ``period_N.txt[.gz]``, a table, or a folder of tables.
    rule
        How event time is divided into blocks.
    gap
        Session gap, ms; generated times keep to it.
    layout
        How tables contain clicks; by default what ``dataset.toml`` beside them says.

    Raises
    ------
    DatasetError
        The path has no readable data set.
    """
    if not path.exists():
        raise DatasetError(f"{path} {describe_path(path)}; expected {EXPECTED}")
    if is_period_folder(path):
        return FolderDataset(path, rule, gap)
    return _open_tables(path, rule, gap, layout or layout_for(path))


def _open_tables(path: Path, rule: BlockRule, gap: int, layout: TableLayout) -> Dataset:
    files, skipped = table_files(path, layout.files)
    try:
        # Imported late, because DuckDB is large and optional.
        from ader_stream.datasets.tables.dataset import TableDataset  # noqa: PLC0415
    except ImportError:
        raise DatasetError(f"{path}: tables need duckdb; pip install 'ader-stream[data]'") from None
    return TableDataset(path.resolve().name, files, rule, gap, layout, skipped=skipped)
