from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from ader_stream.errors import DatasetError
from ader_stream.types import DAY_MS, MINUTE_MS, BlockRule, SessionRule
from ader_stream.versions.bootstrap import dataset_block

BLOCKS = BlockRule(0, DAY_MS)
RULE = SessionRule(30 * MINUTE_MS)


def test_recorded_sessions_become_one_block_in_the_order_of_training(tmp_path: Path) -> None:
    for period, lines in enumerate((["1 a", "2 a", "1 b"], ["3 c", "3 b"])):
        file = tmp_path / f"period_{period}.txt.gz"
        file.write_bytes(gzip.compress("\n".join(lines).encode()))
    block = dataset_block(tmp_path, BLOCKS, RULE)
    assert len(block.blocks) == 2
    assert sorted(block.sessions.items) == [("a",), ("a", "b"), ("c", "b")]
    ends = list(zip(block.sessions.last, block.sessions.first, block.sessions.keys(), strict=True))
    assert ends == sorted(ends)
    assert (block.first_offsets, block.next_offsets) == ({}, {})


def test_sessions_are_cut_where_the_sessionizer_cuts_them(tmp_path: Path) -> None:
    rows = [("u", "a", 0), ("u", "b", 30 * MINUTE_MS), ("u", "c", 60 * MINUTE_MS + 1)]
    text = "".join(f"{user},{item},{time}\n" for user, item, time in rows)
    (tmp_path / "clicks.csv").write_text("session,item,time\n" + text)
    found = dataset_block(tmp_path / "clicks.csv", BLOCKS, RULE, any_time=True)
    assert list(found.sessions.items) == [("a", "b"), ("c",)]


def test_a_data_set_whose_times_cannot_be_right_trains_nothing(tmp_path: Path) -> None:
    (tmp_path / "clicks.csv").write_text("session,item,time\nu,a,1717410158\n")
    with pytest.raises(DatasetError, match=r"clicks\.csv: times from 1970-01-20.*check_times"):
        dataset_block(tmp_path / "clicks.csv", BLOCKS, RULE)


def test_what_is_no_data_set_is_reported(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="does not exist"):
        dataset_block(tmp_path / "nothing", BLOCKS, RULE)
