from __future__ import annotations

import bz2
import gzip
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest

from ader_stream.datasets import layout_for, open_dataset
from ader_stream.datasets.tables.dataset import TableDataset
from ader_stream.datasets.tables.layout import describe_preset, preset_names
from ader_stream.errors import DatasetError, SettingsError
from ader_stream.types import DAY_MS, BlockRule

TIME = 1_704_164_645_000  # 2024-01-02 03:04:05 UTC
SECONDS = TIME // 1_000
DAY = 1_704_153_600_000
RULE = BlockRule(origin=0, length=7 * DAY_MS)

Clicks = list[tuple[str, str, int]]


def opened(path: Path, preset: str = "", **given: Any) -> TableDataset:
    dataset = open_dataset(path, RULE, 1_000_000, layout_for(path, preset, **given))
    assert isinstance(dataset, TableDataset)
    return dataset


def read(path: Path, preset: str = "", **given: Any) -> Clicks:
    blocks = opened(path, preset, **given).blocks()
    return [(c.key, c.item, c.time) for block in blocks for c in block.clicks]


def file(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# --- presets, on samples of the layouts that their publishers describe

TWO = [("7", "31", TIME), ("7", "32", TIME + 1_000)]

SAMPLES: dict[str, tuple[str, str, Clicks]] = {
    "yoochoose": (
        "yoochoose-clicks.dat",
        "7,2024-01-02T03:04:05.000Z,31,0\n7,2024-01-02T03:04:06.000Z,32,S\n",
        TWO,
    ),
    "diginetica": (
        "train-item-views.csv",
        "sessionId;userId;itemId;timeframe;eventdate\n7;NA;32;9000;2024-01-02\n"
        "7;NA;31;8000;2024-01-02\n",
        [("7", "31", DAY + 8_000), ("7", "32", DAY + 9_000)],
    ),
    "retailrocket": (
        "events.csv",
        "timestamp,visitorid,event,itemid,transactionid\n"
        f"{TIME},7,view,31,\n{TIME},7,addtocart,31,\n{TIME + 1_000},7,view,32,\n",
        TWO,
    ),
    "otto": (
        "train.jsonl",
        json.dumps(
            {
                "session": 7,
                "events": [
                    {"aid": 31, "ts": TIME, "type": "clicks"},
                    {"aid": 31, "ts": TIME, "type": "carts"},
                    {"aid": 32, "ts": TIME + 1_000, "type": "clicks"},
                ],
            }
        ),
        TWO,
    ),
    "rees46": (
        "2019-Oct.csv",
        "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,"
        "user_session\n"
        "2024-01-02 03:04:05 UTC,view,31,1,a.b,,1.50,9,7\n"
        "2024-01-02 03:04:05 UTC,cart,31,1,a.b,,1.50,9,7\n"
        "2024-01-02 03:04:06 UTC,view,32,1,,,1.50,9,7\n"
        "2024-01-02 03:04:06 UTC,view,32,1,,,1.50,9,\n",
        TWO,
    ),
    "taobao": (
        "UserBehavior.csv",
        f"7,31,1,pv,{SECONDS}\n7,31,1,buy,{SECONDS}\n7,32,1,pv,{SECONDS + 1}\n",
        TWO,
    ),
    "recbole": (
        "shop.inter",
        "user_id:token\titem_id:token\ttimestamp:float\n"
        f"7\t31\t{SECONDS}.0\n7\t32\t{SECONDS + 1}.0\n",
        TWO,
    ),
    "personalize": (
        "interactions.csv",
        f"USER_ID,ITEM_ID,TIMESTAMP,EVENT_TYPE\n7,31,{SECONDS},click\n7,32,{SECONDS + 1},click\n",
        TWO,
    ),
    "lastfm": (
        "userid-timestamp-artid-artname-traid-traname.tsv",
        '7\t2024-01-02T03:04:06Z\t32\tThe "B"\t\tA song\n7\t2024-01-02T03:04:05Z\t31\tA"\t\tB\n',
        TWO,
    ),
    "mind": (
        "behaviors.tsv",
        "1\t7\t1/2/2024 3:04:05 AM\t\t31-1 40-0\n2\t7\t1/2/2024 3:04:06 AM\t31\t41-0 32-1\n",
        TWO,
    ),
    "coveo": (
        "browsing_train.csv",
        "session_id_hash,event_type,product_action,product_sku_hash,server_timestamp_epoch_ms\n"
        f"7,event_product,detail,31,{TIME}\n7,pageview,,,{TIME}\n"
        f"7,event_product,detail,32,{TIME + 1_000}\n",
        TWO,
    ),
    "movielens": ("ratings.dat", f"7::32::5::{SECONDS + 1}\n7::31::4::{SECONDS}\n", TWO),
    "gowalla": (
        "loc-gowalla_totalCheckins.txt",
        "7\t2024-01-02T03:04:06Z\t30.2\t-97.7\t32\n7\t2024-01-02T03:04:05Z\t30.2\t-97.7\t31\n",
        TWO,
    ),
    "amazon-reviews": ("ratings_Beauty.csv", f"7,31,5.0,{SECONDS}\n7,32,1.0,{SECONDS + 1}\n", TWO),
}


@pytest.mark.parametrize("preset", SAMPLES)
def test_a_preset_reads_the_folder_that_its_publisher_ships(tmp_path: Path, preset: str) -> None:
    name, content, clicks = SAMPLES[preset]
    file(tmp_path, name, content)
    file(tmp_path, "notes.md", "not a table")
    assert read(tmp_path, preset) == clicks


def test_amazon_m2_has_a_session_a_row_and_no_times(tmp_path: Path) -> None:
    rows = (
        "prev_items,next_item,locale\n"
        "\"['B000000001' 'B000000002'\n 'B000000003']\",B000000004,DE\n"
        "\"['B000000002']\",B000000001,DE\n"
    )
    path = file(tmp_path, "sessions_train.csv", rows)
    clicks = read(path, "amazon-m2")
    assert [item[-1] for _, item, _ in clicks] == ["1", "2", "3", "4", "2", "1"]
    assert [key for key, *_ in clicks] == ["row-0-1"] * 4 + ["row-0-2"] * 2


def test_nvtabular_has_lists_of_items_and_times(tmp_path: Path) -> None:
    table = pa.table(
        {
            "session_id": [7],
            "item_id-list": [[31, 32]],
            "timestamp-list": [[SECONDS, SECONDS + 1]],
        }
    )
    pa.parquet.write_table(table, tmp_path / "sessions.parquet")
    assert read(tmp_path, "nvtabular") == TWO


def test_every_preset_is_tested_and_described() -> None:
    assert {*SAMPLES, "amazon-m2", "nvtabular"} == set(preset_names())
    assert all(describe_preset(name) for name in preset_names())


def test_an_unknown_preset_is_refused_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"preset 'yuchoose': expected one of .*yoochoose"):
        layout_for(tmp_path, "yuchoose")


# --- dataset.toml


def test_a_layout_beside_the_table_is_used_and_options_overrule_it(tmp_path: Path) -> None:
    file(tmp_path, "dataset.toml", 'preset = "taobao"\nwhere = \'4 == "buy"\'\n')
    path = file(tmp_path, "b.csv", f"7,31,1,pv,{SECONDS}\n7,32,1,buy,{SECONDS}\n")
    assert read(path) == [("7", "32", TIME)]
    assert read(path, where="") == [("7", "31", TIME), ("7", "32", TIME)]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("sesion = 'a'", "sesion: expected one of preset, session"),
        ("session = 3", "session = 3: expected a text in quotes"),
        ("header = 'no'", "header = 'no': expected true or false"),
        ("session", "cannot be read"),
    ],
)
def test_a_malformed_layout_is_refused(tmp_path: Path, content: str, problem: str) -> None:
    path = file(tmp_path, "dataset.toml", content)
    with pytest.raises(DatasetError, match=rf"dataset\.toml: {problem}"):
        layout_for(path.parent)


# --- columns


def test_columns_may_be_numbers_paths_fallbacks_and_joined(tmp_path: Path) -> None:
    rows = [
        {"user": {"id": 7}, "sku": None, "id": "31", "shop": "x", "at": TIME},
        {"user": {"id": 7}, "sku": "32", "id": "40", "shop": "x", "at": TIME + 1_000},
    ]
    path = file(tmp_path, "e.jsonl", "\n".join(map(json.dumps, rows)))
    clicks = read(path, session="user.id + shop", item="sku | id", time="at")
    assert clicks == [("7:x", "31", TIME), ("7:x", "32", TIME + 1_000)]


def test_a_column_whose_name_is_no_path_is_found_by_its_whole_name(tmp_path: Path) -> None:
    path = file(tmp_path, "e.csv", f"user.id,Item ID,time\n7,31,{TIME}\n")
    assert read(path, session="user.id", item="Item ID") == [("7", "31", TIME)]


def test_rows_without_a_session_take_the_user_where_the_path_says_so(tmp_path: Path) -> None:
    path = file(tmp_path, "e.csv", f"sid,uid,item,time\n,u,31,{TIME}\n7,u,32,{TIME + 1}\n")
    clicks = read(path, session="sid | uid")
    assert [key for key, *_ in clicks] == ["u", "7"]


def test_the_filter_counts_the_rows_that_it_leaves_out(tmp_path: Path) -> None:
    rows = f"session,item,time,price\n7,31,{TIME},5\n7,32,{TIME},\n7,33,{TIME},12\n"
    dataset = opened(file(tmp_path, "e.csv", rows), where="price > 9 or not exists(price)")
    assert [c.item for block in dataset.blocks() for c in block.clicks] == ["32", "33"]
    assert str(dataset.skipped) == "1 rows that the filter leaves out"


def test_a_filter_on_a_missing_column_is_refused(tmp_path: Path) -> None:
    path = file(tmp_path, "e.csv", f"session,item,time\n7,31,{TIME}\n")
    with pytest.raises(DatasetError, match="no column event, which the filter names; it has sess"):
        read(path, where='event == "view"')


def test_where_only_the_order_is_known_clicks_fill_blocks_of_equal_size(tmp_path: Path) -> None:
    rows = "".join(f"{number // 2},{number}\n" for number in range(12))
    dataset = opened(file(tmp_path, "e.csv", "session,item\n" + rows), time="$row", equal_blocks=3)
    blocks = list(dataset.blocks())
    assert [(b.number, [int(c.item) for c in b.clicks]) for b in blocks] == [
        (0, [0, 1, 2, 3]),
        (1, [4, 5, 6, 7]),
        (2, [8, 9, 10, 11]),
    ]
    assert blocks[1].clicks[0].time == RULE.start(1)


# --- files


def gz(content: bytes) -> bytes:
    return gzip.compress(content[:30]) + gzip.compress(content[30:])  # two members


@pytest.mark.parametrize(
    ("name", "compress"),
    [("c.csv.gz", gz), ("C.CSV.GZ", gz), ("c.csv.bz2", bz2.compress), ("c.csv", bytes)],
)
@pytest.mark.parametrize(
    ("encoding", "end"), [("utf-8-sig", "\r\n"), ("utf-16", "\n"), ("utf-8", "\r")]
)
def test_compression_encoding_and_line_ends_change_nothing(
    tmp_path: Path, name: str, compress: Callable[[bytes], bytes], encoding: str, end: str
) -> None:
    lines = ["session;item;time", f"7;31;{TIME}", f'7;"3""ü";{TIME + 1}', ""]
    path = file(tmp_path, name, compress(end.join(lines).encode(encoding)))
    assert read(path) == [("7", "31", TIME), ("7", '3"ü', TIME + 1)]


def test_zstd_is_read(tmp_path: Path) -> None:
    content = f"session,item,time\n7,31,{TIME}\n".encode()
    with pa.output_stream(tmp_path / "c.csv.zst", compression="zstd") as stream:
        stream.write(content)
    assert read(tmp_path / "c.csv.zst") == [("7", "31", TIME)]


def test_a_zip_gives_its_tables_without_what_macos_adds(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("data/a.csv", f"session,item,time\n7,31,{TIME}\n")
        archive.writestr("data/b.csv", f"time,item,session\n{TIME + 1_000},32,7\n")
        archive.writestr("__MACOSX/data/._a.csv", b"\x00\x05\x16\x07")
        archive.writestr("data/README", "notes")
    assert read(tmp_path / "all.zip") == TWO


@pytest.mark.parametrize("name", ["c.csv.gz", "c.csv.bz2", "c.zip", "c.parquet", "c.jsonl"])
def test_a_cut_file_is_refused(tmp_path: Path, name: str) -> None:
    content = "".join(f"7,{number * number},{TIME + number}\n" for number in range(2_000))
    whole = {"gz": gzip.compress, "bz2": bz2.compress}.get(name[6:], lambda text: text)
    path = file(tmp_path, name, whole(f"session,item,time\n{content}".encode())[:-50])
    with pytest.raises(DatasetError, match=rf"{name}: cannot be read"):
        read(path)


def test_partitions_in_the_names_of_folders_are_columns(tmp_path: Path) -> None:
    for day, item in (("2024-01-02", "31"), ("2024-01-03", "32")):
        file(tmp_path, f"day={day}/p.csv", f"session,item,time\n7,{item},{TIME}\n")
    assert read(tmp_path, where='day == "2024-01-03"') == [("7", "32", TIME)]


def test_decimals_and_doubles_that_are_whole_are_ids(tmp_path: Path) -> None:
    ids = pa.array([31, 32]).cast(pa.decimal128(20, 0))
    table = pa.table({"session": [7.0, 7.0], "item": ids, "time": [TIME, TIME + 1_000]})
    pa.parquet.write_table(table, tmp_path / "c.parquet")
    assert read(tmp_path) == TWO


def test_line_breaks_in_quotes_are_read_at_any_size(tmp_path: Path) -> None:
    rows = "".join(f'{n % 900},{n},{TIME + n},"of\ntwo lines {n}"\n' for n in range(60_000))
    clicks = read(file(tmp_path, "c.csv", "session,item,time,title\n" + rows))
    assert [int(item) for _, item, _ in clicks] == list(range(60_000))


def test_a_text_in_another_encoding_is_refused_and_read_with_its_name(tmp_path: Path) -> None:
    path = file(tmp_path, "c.csv", f"session,item,time\n7,Größe,{TIME}\n".encode("latin-1"))
    with pytest.raises(DatasetError, match="--encoding"):
        read(path)
    assert read(path, encoding="latin-1") == [("7", "Größe", TIME)]


# --- times that are texts


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-02 03:04:05 UTC",
        "2024-01-02T03:04:05.000+0000",
        "2024-01-02T05:04:05+02",
        "2024-01-02 03:04:05,000 Z",
        "2024-01-02T03:04:05Z[UTC]",
        "20240102T030405Z",
        "02/Jan/2024:03:04:05 +0000",
        "Tue, 02 Jan 2024 05:04:05 +0200",
        "Tue, 02 Jan 2024 03:04:05 GMT",
        "1.704164645e12",
    ],
)
def test_times_as_tools_write_them_are_read(tmp_path: Path, text: str) -> None:
    path = file(tmp_path, "c.csv", f'session,item,time\n7,31,"{text}"\n')
    assert read(path) == [("7", "31", TIME)]


def test_another_form_of_times_is_refused_and_read_where_it_is_named(tmp_path: Path) -> None:
    path = file(tmp_path, "c.csv", "session,item,time\n7,31,20240102030405\n")
    with pytest.raises(DatasetError, match="--time-format"):
        read(path)
    assert read(path, time_format="%Y%m%d%H%M%S") == [("7", "31", TIME)]
