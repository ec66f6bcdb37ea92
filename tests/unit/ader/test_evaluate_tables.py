from __future__ import annotations

from pathlib import Path

import pytest

from ader_stream.cli.evaluation.blocks import read_blocks
from ader_stream.datasets import TableLayout
from ader_stream.errors import DatasetError
from ader_stream.types import DAY_MS, BlockRule

TIME = 1_704_153_600_000  # 2024-01-02
RULE = BlockRule(origin=0, length=DAY_MS)
GAP = 1_000


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Return two sessions on each of four days: b's first click is before a's, its last after."""
    path = tmp_path / "clicks.csv"
    rows = "".join(
        f"b,{day}0,{TIME + day * DAY_MS}\na,{day}1,{TIME + day * DAY_MS + 1}\n"
        f"a,{day}2,{TIME + day * DAY_MS + 2}\nb,{day}3,{TIME + day * DAY_MS + 3}\n"
        for day in range(4)
    )
    path.write_text("session,item,time\n" + rows)
    return path


def test_sessions_of_a_table_are_in_the_trainers_order(table: Path) -> None:
    blocks = read_blocks(table, RULE, GAP, TableLayout(), cycles=None)
    assert blocks.sessions[1] == [("11", "12"), ("10", "13")]
    assert len(set(blocks.fingerprints)) == 4


def test_blocks_of_equally_many_clicks_hold_whole_sessions(table: Path) -> None:
    blocks = read_blocks(table, RULE, GAP, TableLayout(equal_blocks=2), cycles=None)
    assert [len(sessions) for sessions in blocks.sessions] == [4, 4]


def test_more_cycles_than_blocks_are_refused_with_the_options_that_help(table: Path) -> None:
    with pytest.raises(DatasetError, match=r"4 cycles need 5 blocks; it has 4.*--block-length"):
        read_blocks(table, RULE, GAP, TableLayout(), cycles=4)
