"""``ader-stream drift`` over data sets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ader_stream.cli.main import cli
from ader_stream.datasets import ShopSize, SimulatedShop
from ader_stream.types import DAY_MS, HOUR_MS, BlockRule

BLOCKS = 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop in the ADER format; in the last block, all items are others."""
    path = tmp_path_factory.mktemp("shop")
    shop = SimulatedShop(BlockRule(0, DAY_MS), HOUR_MS, ShopSize(BLOCKS, 300, 300))
    for number, clicks in shop.blocks():
        suffix = "-new" if number == BLOCKS - 1 else ""
        lines = [f"{click.key} {click.item}{suffix}\n" for click in clicks]
        (path / f"period_{number}.txt").write_text("".join(lines))
    return path


def drift(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(cli, ["drift", "--dataset", str(folder), *arguments])


def test_a_data_set_is_reported_block_by_block(folder: Path) -> None:
    done = drift(folder, "--json")
    found = [json.loads(line) for line in done.output.splitlines()]
    assert [block["block"] for block in found] == [1, 2, 3, 4, 5]
    assert found[0]["state"] == "insufficient data"
    assert found[-1]["state"] == "act"
    assert done.exit_code == 3


def test_the_table_says_why(folder: Path) -> None:
    done = drift(folder)
    assert "block 5  unknown_items act: 1 on " in done.output
    assert done.exit_code == 3


def test_a_block_that_needs_no_action_exits_with_0(folder: Path) -> None:
    done = drift(folder, "--block", "4")
    assert done.output.startswith("block 4: ")
    assert "unknown_items" in done.output
    assert done.exit_code == 0


def test_two_blocks_are_compared(folder: Path) -> None:
    done = drift(folder, "--block", "4", "--against", "1", "--json")
    found = json.loads(done.output)
    assert (found["block"], found["against"]) == (4, "against block 1")


@pytest.mark.parametrize("arguments", [("--block", "9"), ("--against", "9"), ("--block", "0")])
def test_a_block_that_is_not_there_is_named(folder: Path, arguments: tuple[str, ...]) -> None:
    done = drift(folder, *arguments)
    assert f"there is no block {arguments[1]} to compare" in str(done.exception)
