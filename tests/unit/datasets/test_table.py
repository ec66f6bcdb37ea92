from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from ader_stream.datasets import TableLayout, open_dataset
from ader_stream.datasets.tables.dataset import TableDataset
from ader_stream.errors import DatasetError, SettingsError
from ader_stream.types import BlockRule

RULE = BlockRule(origin=0, length=1_000)
TIME = 1_704_164_645_000  # 2024-01-02 03:04:05 UTC
SECONDS = TIME // 1_000

Rows = list[tuple[int, str, str, int]]


def read(path: Path, *, any_time: bool = True, **columns: Any) -> Rows:
    table = TableLayout(**columns, any_time=any_time)
    blocks = open_dataset(path, RULE, 100, table).blocks()
    return [(block, c.key, c.item, c.time) for block, clicks in blocks for c in clicks]


def csv(folder: Path, text: str, name: str = "clicks.csv") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def parquet(folder: Path, name: str = "clicks.parquet", **columns: Any) -> Path:
    pa.parquet.write_table(pa.table(columns), folder / name)
    return folder / name


def test_clicks_are_sorted_by_time_and_cut_into_blocks(tmp_path: Path) -> None:
    path = csv(tmp_path, "session,item,time\nb,2,3500\na,1,999\nb,3,1000\n")
    assert read(path) == [(0, "a", "1", 999), (1, "b", "3", 1000), (3, "b", "2", 3500)]


def test_clicks_of_one_time_stay_in_the_order_of_files_and_rows(tmp_path: Path) -> None:
    csv(tmp_path, "session,item,time\na,3,7\n", name="part-2.csv")
    csv(tmp_path, "session,item,time\na,1,7\na,2,7\n", name="part-1.csv")
    assert [item for _, _, item, _ in read(tmp_path)] == ["1", "2", "3"]


def test_a_block_before_the_origin_has_a_negative_number(tmp_path: Path) -> None:
    path = csv(tmp_path, "session,item,time\na,1,1\n")
    rule = BlockRule(origin=2, length=1_000)
    [(number, _)] = open_dataset(path, rule, 100, TableLayout(any_time=True)).blocks()
    assert number == -1


def test_columns_have_the_names_that_were_given(tmp_path: Path) -> None:
    path = csv(tmp_path, "when;who;price;what\n5;ann;9.5;hat\n")
    rows = read(path, session="who", item="what", time="when", delimiter=";")
    assert rows == [(0, "ann", "hat", 5)]


def test_ids_in_csv_stay_as_they_are_written(tmp_path: Path) -> None:
    path = csv(tmp_path, "session,item,time\n007,NA,5\n")
    assert read(path) == [(0, "007", "NA", 5)]


def test_whole_numbers_in_parquet_become_decimal_strings(tmp_path: Path) -> None:
    path = parquet(tmp_path, session=[12], item=pa.array(["hat"]).dictionary_encode(), time=[5])
    assert read(path) == [(0, "12", "hat", 5)]


@pytest.mark.parametrize(
    ("time", "unit"),
    [
        (str(TIME), "ms"),
        (str(SECONDS), "s"),
        (f"{SECONDS}.0", "s"),
        (f"{TIME}000", "us"),
        (f"{TIME}000000", "ns"),
        ("2024-01-02T03:04:05Z", "ms"),
        ("2024-01-02T05:04:05.000+02:00", "ms"),
        ("2024-01-02 03:04:05", "s"),
    ],
)
def test_times_in_csv_are_numbers_of_a_unit_or_iso_8601(
    tmp_path: Path, time: str, unit: str
) -> None:
    path = csv(tmp_path, f"session,item,time\na,1,{time}\n")
    assert read(path, time_unit=unit)[0][3] == TIME


@pytest.mark.parametrize(
    "times",
    [
        pa.array([TIME]),
        pa.array([float(TIME)]),
        pa.array([TIME * 1_000], pa.timestamp("us")),
        pa.array([SECONDS], pa.timestamp("s", "Europe/Berlin")),
        pa.array([datetime.fromtimestamp(SECONDS, UTC)]),
        pa.array(["2024-01-02T03:04:05Z"], pa.large_string()),
    ],
)
def test_times_in_parquet_may_be_numbers_timestamps_or_strings(
    tmp_path: Path, times: pa.Array
) -> None:
    path = parquet(tmp_path, session=["a"], item=["1"], time=times)
    assert read(path)[0][3] == TIME


def test_fractions_of_a_second_become_milliseconds(tmp_path: Path) -> None:
    path = csv(tmp_path, "session,item,time\na,1,2\na,2,2.5\n")
    assert [time for *_, time in read(path, time_unit="s")] == [2_000, 2_500]


def test_a_missing_column_is_named_with_those_found(tmp_path: Path) -> None:
    path = csv(tmp_path, "who,item,ts\na,1,2\n")
    with pytest.raises(DatasetError, match=r"no column session, time; it has who, item, ts"):
        read(path)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("a,2,soon", "time 'soon': expected a number of ms"),
        ("a,2,-3", "time '-3': expected a number of ms between 1970 and 9999"),
        ("a,2,nan", "time 'nan'"),
        ("a,2,1704164645000000", ".*use --time-unit us"),
    ],
)
def test_a_time_that_cannot_be_read_is_named_by_its_row(
    tmp_path: Path, row: str, problem: str
) -> None:
    path = csv(tmp_path, f"session,item,time\na,1,1\n{row}\nb,2,3\n")
    with pytest.raises(DatasetError, match=rf"clicks\.csv: row 2: {problem}"):
        read(path)


def test_rows_without_session_item_or_time_are_left_out_and_counted(tmp_path: Path) -> None:
    path = csv(tmp_path, 'session,item,time\n,2,3\na,"",3\na,2,\nb,2,3\n')
    dataset = TableDataset("clicks", [path], RULE, 100, TableLayout(any_time=True))
    assert [click.key for block in dataset.blocks() for click in block.clicks] == ["b"]
    assert dataset.skipped == {"no session": 1, "no item": 1, "no time": 1}


def test_a_row_of_the_wrong_width_is_refused(tmp_path: Path) -> None:
    path = csv(tmp_path, "session,item,time\na,1,1\na,2\n")
    with pytest.raises(DatasetError, match=r"clicks\.csv: cannot be read: .*Line: 3"):
        read(path)


def test_iso_8601_with_and_without_zone_do_not_mix(tmp_path: Path) -> None:
    path = csv(tmp_path, "session,item,time\na,1,2024-01-02T03:04:05Z\na,1,2024-01-02T03:04:05\n")
    with pytest.raises(DatasetError, match=r"row 2: .*ISO 8601 with a zone"):
        read(path)


@pytest.mark.parametrize(
    ("column", "values", "problem"),
    [
        ("item", [1.5, 2.0], "cannot be read: .*expected whole numbers or texts"),
        ("time", [1.0, float("inf")], "row 2: time 'inf'"),
        ("time", [True, False], "a BOOLEAN: expected numbers, timestamps"),
    ],
)
def test_a_bad_value_in_parquet_is_named(
    tmp_path: Path, column: str, values: list[Any], problem: str
) -> None:
    good: dict[str, Any] = {"session": ["a", "b"], "item": ["1", "2"], "time": [1, 2]}
    path = parquet(tmp_path, **good | {column: values})
    with pytest.raises(DatasetError, match=rf"clicks\.parquet: {problem}"):
        read(path)


@pytest.mark.parametrize("name", ["clicks.csv", "clicks.parquet"])
def test_an_empty_file_is_refused(tmp_path: Path, name: str) -> None:
    csv(tmp_path, "", name=name)
    with pytest.raises(DatasetError, match=f"{name}: cannot be read"):
        read(tmp_path / name)


def test_a_table_without_a_row_is_refused(tmp_path: Path) -> None:
    path = csv(tmp_path, "session,item,time\n")
    with pytest.raises(DatasetError, match="holds no click"):
        read(path)


@pytest.mark.parametrize("option", [{"time_unit": "hours"}, {"delimiter": "\n"}])
def test_an_unknown_unit_or_delimiter_is_refused(tmp_path: Path, option: dict[str, str]) -> None:
    path = csv(tmp_path, "session,item,time\na,1,1\n")
    with pytest.raises(SettingsError, match=f"{'time unit|delimiter'} "):
        read(path, **option)


def test_without_duckdb_the_error_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "ader_stream.datasets.tables.dataset", raising=False)
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(DatasetError, match=r"pip install 'ader-stream\[data\]'"):
        read(csv(tmp_path, "session,item,time\na,1,1\n"))


# --- times that no click can have


def table_of(folder: Path, times: Iterable[object]) -> Path:
    rows = "".join(f"v{number},hat,{time}\n" for number, time in enumerate(times))
    return csv(folder, "session,item,time\n" + rows)


def refusal(path: Path, **columns: str) -> str:
    with pytest.raises(DatasetError) as refused:
        read(path, any_time=False, **columns)
    return str(refused.value)


def test_seconds_read_as_milliseconds_are_refused_with_the_unit_that_they_are_in(
    tmp_path: Path,
) -> None:
    path = table_of(tmp_path, (SECONDS + number for number in range(3)))
    reason = refusal(path)
    assert "clicks.csv: times from 1970-01-20T17:22:44.645Z to 1970-01-20T17:22:44.647Z" in reason
    assert "1704164645 is 1970-01-20T17:22:44.645Z, in s it would be 2024-01-02T03:04:05Z" in reason
    assert "use --time-unit s" in reason
    assert "--any-time" in reason
    assert next(time for *_, time in read(path, any_time=False, time_unit="s")) == TIME


@pytest.mark.parametrize(
    ("times", "problem"),
    [
        ([20240603102238, 20240603102630, 20240603102944], "digits look like 2024-06-03 10:22:38"),
        ([20240603, 20240604, 20240605], "digits look like 2024-06-03 00:00:00"),
        ([TIME + 9 * 10**12] * 3, "lie in the future (it is "),
        ([TIME + n for n in range(99)] + [0], "1 of 100 times lie before the year 2000"),
        ([TIME + n for n in range(99)] + [4 * 10**12], "1 of 100 times lie in the future"),
        ([TIME] * 20, "all 20 event times are alike"),
        ([TIME + n for n in range(50)] + [SECONDS + n for n in range(50)], "two units"),
        (["1970-01-20T21:03:30Z"] * 3, "3 of 3 event times"),
    ],
)
def test_a_table_with_times_that_no_click_can_have_is_refused(
    tmp_path: Path, times: list[object], problem: str
) -> None:
    assert problem in refusal(table_of(tmp_path, times))


def test_a_time_of_iso_8601_is_in_no_unit(tmp_path: Path) -> None:
    path = table_of(tmp_path, ["1970-01-20T21:03:30Z", "1970-01-20T21:03:31Z"])
    assert "--time-unit" not in refusal(path)


def test_a_rare_wrong_row_is_found_among_many(tmp_path: Path) -> None:
    times = pa.array([TIME + number for number in range(20_000)] + [1])
    columns = {"session": ["a"] * 20_001, "item": ["hat"] * 20_001, "time": times}
    assert "1 of 20,001 times lie before" in refusal(parquet(tmp_path, **columns))


def test_years_that_have_passed_since_are_no_reason_to_refuse(tmp_path: Path) -> None:
    path = table_of(tmp_path, ["2000-01-01T00:00:00Z", "2003-05-01T00:00:00Z"])
    assert len(read(path, any_time=False)) == 2
