from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from ader_stream.ader.recipes import RECIPES, Recipe
from ader_stream.cli.evaluate import evaluate
from ader_stream.errors import DatasetError, InputError

Blocks = Callable[[int, int], list[tuple[str, ...]]]


@pytest.fixture
def dataset(tmp_path: Path, block: Blocks) -> Path:
    folder = tmp_path / "SHOP"
    folder.mkdir()
    for period in range(3):
        lines = [
            f"{session} {item}\n"
            for session, items in enumerate(block(period, 12 + period))
            for item in items
        ]
        (folder / f"period_{period}.txt").write_text("".join(lines))
    return folder


@pytest.fixture
def run(
    dataset: Path, tmp_path: Path, tiny: Recipe, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, object]]:
    monkeypatch.setitem(RECIPES, "paper", tiny)

    def command(*options: str) -> dict[str, object]:
        out = tmp_path / "result.json"
        arguments = ["--dataset", str(dataset), "--out", str(out), *options]
        result = CliRunner().invoke(evaluate, arguments, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        loaded: dict[str, object] = json.loads(out.read_text())
        return loaded

    return command


def test_every_period_after_the_first_is_a_cycle(run: Callable[..., dict[str, object]]) -> None:
    result = run("--seed", "4")
    assert (result["dataset"], result["method"], result["seed"]) == ("SHOP", "ader", 4)
    cycles = result["cycles"]
    assert isinstance(cycles, list)
    assert [entry["cycle"] for entry in cycles] == [1, 2]
    assert cycles[1]["lambda"] > cycles[0]["lambda"] == 0
    recalls = [entry["recall@20"] for entry in cycles]
    assert result["mean"]["recall@20"] == pytest.approx(sum(recalls) / 2)  # type: ignore[index]


def test_fine_tuning_replays_nothing(run: Callable[..., dict[str, object]]) -> None:
    cycles = run("--method", "finetune", "--cycles", "2")["cycles"]
    assert isinstance(cycles, list)
    assert [(entry["exemplars"], entry["lambda"]) for entry in cycles] == [(0, 0), (0, 0)]


def test_more_cycles_than_periods_are_refused(run: Callable[..., dict[str, object]]) -> None:
    with pytest.raises(DatasetError, match="no period 3"):
        run("--cycles", "3")


def test_missing_output_folder_is_refused_before_training(
    run: Callable[..., dict[str, object]], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="create it first"):
        run("--out", str(tmp_path / "nowhere" / "result.json"))
