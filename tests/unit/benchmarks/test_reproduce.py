from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from ader_stream.ader.methods import METHODS
from ader_stream.cli.evaluation.evaluate import evaluate
from tests.benchmarks.reproduce import QUEUE, Run, command_of, cycles_done, publish, work_off


@pytest.fixture
def work(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


@pytest.fixture
def results(tmp_path: Path) -> Path:
    (tmp_path / "results").mkdir()
    return tmp_path / "results"


def finish(folder: Path, run: Run, cycles: int | None = None) -> None:
    entries = [{"cycle": t} for t in range(1, (cycles or run.cycles) + 1)]
    (folder / run.file).write_text(json.dumps({"cycles": entries}))


def test_queue_holds_every_method_once_and_more_seeds_where_they_decide() -> None:
    seeds: dict[str, list[int]] = {}
    for run in QUEUE:
        if run.recipe == "paper":
            seeds.setdefault(run.method, []).append(run.seed)
    assert seeds.keys() == set(METHODS)
    assert seeds.pop("ader") == [0, 1, 2]
    assert seeds.pop("finetune") == seeds.pop("ewc") == [0, 1]
    assert all(seed == [0] for seed in seeds.values())
    assert [run.seed for run in QUEUE if run.recipe == "production"] == [0, 1, 2]


def test_baselines_run_in_full_and_the_others_at_least_six_cycles() -> None:
    full = {run.method for run in QUEUE if run.cycles == 16}
    assert full == {"ader", "finetune", "dropout", "ewc"}
    assert min(run.cycles for run in QUEUE) >= 6


def test_the_most_important_runs_come_first() -> None:
    first = [(run.recipe, run.method) for run in QUEUE[:3]]
    assert first == [("production", "ader"), ("paper", "ader"), ("paper", "finetune")]


def test_runs_go_one_after_another_and_are_copied_when_they_are_done(
    work: Path, results: Path
) -> None:
    queue = [Run("ader", 2), Run("joint", 1)]
    started: list[Run] = []

    def start(run: Run) -> int:
        assert not (results / run.file).exists()
        started.append(run)
        finish(work, run)
        return 0

    for run in work_off(queue, work, results, start):
        assert cycles_done(results / run.file) == run.cycles
    assert started == queue


def test_finished_runs_are_skipped_and_unfinished_ones_continue(work: Path, results: Path) -> None:
    queue = [Run("ader", 2), Run("joint", 2)]
    finish(results, queue[0])
    finish(results, queue[1], cycles=1)
    started: list[Run] = []

    def start(run: Run) -> int:
        started.append(run)
        finish(work, run)
        return 0

    assert list(work_off(queue, work, results, start)) == started == [queue[1]]


def test_a_run_that_fails_ends_the_queue_with_its_code(work: Path, results: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        list(work_off([Run("ader", 2), Run("joint", 2)], work, results, lambda _: 2))
    assert ended.value.code == 2
    assert not list(results.iterdir())


def test_what_there_is_can_be_published_before_the_end(work: Path, results: Path) -> None:
    queue = [Run("ader", 16), Run("joint", 6)]
    finish(work, queue[0], cycles=3)
    publish(queue, work, results)
    assert [path.name for path in results.iterdir()] == ["ader-paper-0.json"]


def test_command_evaluates_what_the_run_says(tmp_path: Path, work: Path) -> None:
    dataset = tmp_path / "SHOP"
    dataset.mkdir()
    for period in range(2):
        lines = "".join(f"s{click % 7} item-{click % 5}\n" for click in range(40))
        (dataset / f"period_{period}.txt").write_text(lines)
    run = Run("dropout", 1, seed=3)
    _, _, _, program, *options = command_of(run, dataset, work)
    assert program == "evaluate"
    assert "--resume" in options
    small = ["--override", "hidden=16", "--override", "max_epochs=1"]
    ended = CliRunner().invoke(evaluate, [*options, *small], catch_exceptions=False)
    assert ended.exit_code == 0, ended.output
    written = json.loads((work / run.file).read_text())
    assert (written["method"], written["seed"], cycles_done(work / run.file)) == ("dropout", 3, 1)
