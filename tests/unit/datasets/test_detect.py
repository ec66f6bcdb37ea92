from __future__ import annotations

from pathlib import Path

import pytest

from ader_stream.datasets import open_dataset
from ader_stream.datasets.tables.files import table_files
from ader_stream.errors import DatasetError
from ader_stream.types import BlockRule

RULE = BlockRule(origin=0, length=1_000)


def test_a_folder_of_periods_is_read_in_the_folder_format(tmp_path: Path) -> None:
    (tmp_path / "period_0.txt").write_text("a hat\n")
    [(_, [click])] = open_dataset(tmp_path, RULE, gap=100).blocks()
    assert (click.key, click.item) == ("a", "hat")


def test_a_folder_of_tables_gives_them_by_name_and_nothing_else(tmp_path: Path) -> None:
    for name in ("b.csv", "a.parquet", "README.md", "c.CSV.GZ", "._b.csv", "_SUCCESS"):
        (tmp_path / name).touch()
    files, skipped = table_files(tmp_path)
    assert [file.name for file in files] == ["a.parquet", "b.csv", "c.CSV.GZ"]
    assert skipped == {"hidden": 2, "other": 1}


def test_a_pattern_names_the_tables_of_a_folder_also_where_they_are_compressed(
    tmp_path: Path,
) -> None:
    for name in ("shop-clicks.dat.gz", "shop-buys.dat", "shop-test.dat"):
        (tmp_path / name).touch()
    files, skipped = table_files(tmp_path, "*clicks*.dat")
    assert ([file.name for file in files], skipped) == (["shop-clicks.dat.gz"], {"other": 2})


def test_a_pattern_that_no_file_has_is_refused(tmp_path: Path) -> None:
    (tmp_path / "clicks.csv").touch()
    with pytest.raises(DatasetError, match=r"holds clicks\.csv, none of which is \*\.dat"):
        table_files(tmp_path, "*.dat")


def test_recorded_clicks_are_not_called_simulated(tmp_path: Path) -> None:
    (tmp_path / "clicks.csv").write_text("session,item,time\na,1,1\n")
    dataset = open_dataset(tmp_path / "clicks.csv", RULE, gap=100)
    assert (dataset.name, dataset.simulated, dataset.fingerprint) == ("clicks.csv", False, None)


def test_a_path_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="nowhere does not exist; expected a folder"):
        open_dataset(tmp_path / "nowhere", RULE, gap=100)


def test_a_folder_with_nothing_readable_is_refused_with_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "notes.md").touch()
    with pytest.raises(DatasetError, match=r"holds notes\.md; expected a folder"):
        open_dataset(tmp_path, RULE, gap=100)


def test_a_single_period_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "period_0.txt").write_text("a hat\n")
    with pytest.raises(
        DatasetError, match=r"period_0\.txt is a file; expected a folder.*; name its folder"
    ):
        open_dataset(tmp_path / "period_0.txt", RULE, gap=100)
