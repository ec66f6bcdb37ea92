"""CSV, JSON and Parquet files as blocks of clicks."""

from __future__ import annotations

import shutil
import tempfile
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import structlog
from duckdb import DuckDBPyConnection

from ader_stream.datasets.dataset import Block
from ader_stream.datasets.spread import spread
from ader_stream.datasets.tables.implausible_times import require_plausible_times
from ader_stream.datasets.tables.layout import TableLayout
from ader_stream.datasets.tables.plain_copy import readable_files
from ader_stream.datasets.tables.reader import CREATE_ROWS, read_file
from ader_stream.datasets.tables.skipped import Skipped
from ader_stream.errors import DatasetError, SettingsError
from ader_stream.types import SECOND_MS, BlockRule, Click

MEMORY = "2GB"
"""Memory that DuckDB uses before it sorts on disk: 20 million clicks need less."""

ORDER_BLOCKS = 10
"""Blocks where only the order is known, unless the layout says: nothing in the data names one."""

_log = structlog.get_logger(__name__)


class TableDataset:
    """Tables of clicks, in any order; every click keeps its own time.

    The clicks are read once into a temporary database, sorted; one block at a time is in memory.

    Parameters
    ----------
    name
        Name in reports.
    files
        CSV, JSON and Parquet files. Clicks with equal times keep the order of files and rows.
    rule
        How event time is divided into blocks.
    gap
        Session gap, ms; generated times keep to it.
    layout
        Where session, item and time are.
    skipped
        Files that were left out.
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
        gap: int,
        layout: TableLayout,
        *,
        skipped: Skipped | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self.layout = layout
        self._files = files
        self._rule = rule
        self._gap = gap
        self._skipped = Skipped(skipped or {})
        self._clock = clock

    def blocks(self) -> Iterator[Block]:
        """Yield block after block."""
        return self._blocks_of_order() if self.layout.has_order_only else self._blocks_of_time()

    @property
    def skipped(self) -> Skipped:
        """Return what was left out of the files; reads them."""
        assert self.connection
        return self._skipped

    @cached_property
    def connection(self) -> DuckDBPyConnection:
        """Return a database with the table `clicks` (session, item, time), in order.

        Raises
        ------
        DatasetError
            A file cannot be read, there is no click, or the times cannot be those of clicks.
        """
        folder = tempfile.mkdtemp(prefix="ader-tables-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        connection = _open_database(Path(folder))
        units = self._read_files(connection)
        connection.execute(
            "CREATE TABLE clicks AS SELECT session, item, time FROM rows WHERE session IS NOT NULL "
            "AND item IS NOT NULL AND time IS NOT NULL ORDER BY time, file, number, place"
        )
        self._require_clicks(connection)
        connection.execute("DROP TABLE rows")
        if not (self.layout.any_time or self.layout.has_order_only):
            self._require_plausible(connection, units[0])
        if self._skipped:
            _log.warning("table_left_out", dataset=self.name, left_out=str(self._skipped))
        return connection

    def _read_files(self, connection: DuckDBPyConnection) -> list[str]:
        units: list[str] = []
        for file in self._files:
            with tempfile.TemporaryDirectory(prefix="ader-copy-") as copies:
                for part in readable_files(file, Path(copies), self.layout.encoding):
                    read = read_file(connection, part, len(units), self.layout)
                    units.append(read.unit)
                    self._skipped += read.skipped
        return units

    def _require_clicks(self, connection: DuckDBPyConnection) -> None:
        if not _one(connection, "SELECT count(*) FROM clicks"):
            why = f" ({self._skipped})" if self._skipped else ""
            raise DatasetError(f"{self._files[0]}: holds no click{why}; expected one a row")
        if not _one(
            connection, "SELECT count_if(NOT regexp_full_match(item, '[0-9]+\\.0')) FROM clicks"
        ):
            _log.warning(
                "table_ids_are_fractions",
                dataset=self.name,
                example=_one(connection, "SELECT item FROM clicks LIMIT 1"),
                remedy="all items end in .0, which no topic's items do: write them as integers",
            )

    def _require_plausible(self, connection: DuckDBPyConnection, unit: str) -> None:
        times = connection.execute("SELECT time FROM clicks ORDER BY rowid").fetchnumpy()["time"]
        require_plausible_times(self.name, np.asarray(times), int(self._clock() * SECOND_MS), unit)

    def _blocks_of_time(self) -> Iterator[Block]:
        first = _one(self.connection, "SELECT min(time) FROM clicks")
        while first is not None:
            number = self._rule.block_of(first)
            end = self._rule.start(number + 1)
            rows = self._rows(f"time >= {first} AND time < {end}")
            yield Block(number, [Click(key, item, at) for key, item, at in rows])
            first = _one(self.connection, f"SELECT min(time) FROM clicks WHERE time >= {end}")

    def _blocks_of_order(self) -> Iterator[Block]:
        """Yield blocks of about equally many clicks; a session is in that of its first click."""
        clicks = _one(self.connection, "SELECT count(*) FROM clicks")
        blocks = min(self.layout.equal_blocks or ORDER_BLOCKS, clicks)
        for number in range(blocks):
            low = clicks * number // blocks
            high = clicks * (number + 1) // blocks
            rows = self._rows(
                "session IN (SELECT session FROM clicks GROUP BY session "
                f"HAVING min(rowid) >= {low} AND min(rowid) < {high})"
            )
            if rows:
                yield Block(number, self._timed(number, rows))

    def _timed(self, number: int, rows: Sequence[tuple[str, str, int]]) -> list[Click]:
        keys = [key for key, *_ in rows]
        try:
            times = spread(keys, self._rule.start(number), self._rule.length_of(number), self._gap)
        except SettingsError as error:
            raise SettingsError(f"{self.name}: {error}") from None
        return [Click(key, item, at) for (key, item, _), at in zip(rows, times, strict=True)]

    def _rows(self, where: str) -> list[tuple[str, str, int]]:
        query = f"SELECT session, item, time FROM clicks WHERE {where} ORDER BY rowid"
        return self.connection.execute(query).fetchall()


def _open_database(folder: Path) -> DuckDBPyConnection:
    connection = duckdb.connect(folder / "clicks.duckdb")
    connection.execute(f"SET memory_limit = '{MEMORY}'")
    connection.execute("SET temp_directory = ?", [str(folder)])
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("SET autoinstall_known_extensions = false")
    connection.execute(CREATE_ROWS)
    return connection


def _one(connection: DuckDBPyConnection, query: str) -> Any:
    """Return the one value of a query."""
    [(value,)] = connection.execute(query).fetchall()
    return value
