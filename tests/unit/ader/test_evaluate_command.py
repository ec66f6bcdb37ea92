from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from rich.console import Console

from ader_stream.ader import device
from ader_stream.ader.methods import METHODS
from ader_stream.ader.recipes import PAPER, RECIPES
from ader_stream.cli.evaluation import request
from ader_stream.cli.evaluation.evaluate import evaluate
from ader_stream.cli.evaluation.progress import ProgressBar, seconds_left
from ader_stream.errors import DatasetError, InputError, SettingsError
from ader_stream.runtime.code_version import code_version

Blocks = Callable[[int, int], list[tuple[str, ...]]]
Run = Callable[..., dict[str, Any]]

SMALL = {
    "hidden": 16,
    "maxlen": 6,
    "batch_size": 32,
    "max_epochs": 3,
    "exemplars": 60,
    "learning_rate": 5e-3,
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory, block: Blocks) -> Path:
    folder = tmp_path_factory.mktemp("data") / "SHOP"
    folder.mkdir()
    for period in range(4):
        lines = [
            f"{session} {item}\n"
            for session, items in enumerate(block(period, 12 + period))
            for item in items
        ]
        (folder / f"period_{period}.txt").write_text("".join(lines))
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "result.json"


@pytest.fixture
def arguments(dataset: Path, out: Path) -> list[str]:
    overrides = [f"--override={name}={value}" for name, value in SMALL.items()]
    return ["--dataset", str(dataset), "--out", str(out), *overrides]


@pytest.fixture
def run(arguments: list[str], out: Path) -> Run:
    def command(*options: str) -> dict[str, Any]:
        result = CliRunner().invoke(evaluate, [*arguments, *options], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        loaded: dict[str, Any] = json.loads(out.read_text())
        return loaded

    return command


def test_the_names_in_the_help_are_those_of_the_library() -> None:
    assert tuple(METHODS) == request.METHODS
    assert tuple(RECIPES) == request.RECIPES
    assert device.CHOICES == request.DEVICES


def test_every_period_after_the_first_is_a_cycle(run: Run) -> None:
    result = run("--seed", "4")
    assert (result["dataset"], result["method"], result["seed"]) == ("SHOP", "ader", 4)
    cycles = result["cycles"]
    assert [entry["cycle"] for entry in cycles] == [1, 2, 3]
    assert cycles[1]["lambda"] > cycles[0]["lambda"] == 0
    recalls = [entry["recall@20"] for entry in cycles]
    assert result["mean"]["recall@20"] == pytest.approx(sum(recalls) / 3)


def test_result_has_what_programs_rely_on(run: Run) -> None:
    result = run("--cycles", "1")
    assert list(result) == [
        *("dataset", "fingerprint", "periods", "method", "recipe", "overrides"),
        *("hyperparameters", "seed", "code", "versions", "machine", "cycles", "mean"),
    ]
    assert set(result["machine"]) == {
        *("processor", "cores", "threads", "memory_bytes", "processes", "device", "precision")
    }
    assert result["hyperparameters"] == asdict(replace(PAPER, **SMALL))  # type: ignore[arg-type]
    assert len(set(result["periods"])) == 4, "all of them, not only those that were read"
    assert result["code"] == code_version()
    assert result["machine"]["threads"] == torch.get_num_threads()
    assert result["overrides"] == SMALL
    [cycle] = result["cycles"]
    assert cycle.keys() >= {
        *("cycle", "recall@10", "recall@20", "mrr@10", "mrr@20", "targets", "epochs"),
        *("best_epoch", "validation_recall@20", "lambda", "exemplars", "train_samples"),
        *("train_seconds", "samples_per_second", "herding_seconds", "rank_seconds"),
        *("peak_rss_bytes", "slices", "unknown_items", "losses", "validation"),
    }
    assert cycle["validation_recall@20"] == max(cycle["validation"])
    assert 10**7 < cycle["peak_rss_bytes"] < result["machine"]["memory_bytes"]


def test_fine_tuning_replays_nothing(run: Run) -> None:
    cycles = run("--method", "finetune", "--cycles", "2")["cycles"]
    assert [(entry["exemplars"], entry["lambda"]) for entry in cycles] == [(0, 0), (0, 0)]


def timeless(result: dict[str, Any]) -> dict[str, Any]:
    """A result without what differs between two runs of the same."""
    measured = {"peak_rss_bytes", "samples_per_second"}
    cycles = [
        {n: v for n, v in cycle.items() if n not in measured and not n.endswith("_seconds")}
        for cycle in result["cycles"]
    ]
    return {**result, "cycles": cycles}


MID_CYCLE = "progress.ProgressBar.show = lambda _, at, now: at == 2 and now.step == 2 and die()"
BEFORE_WRITING = "file.ResultFile.write = lambda it: die() if len(it.cycles) == 2 else write(it)"


@pytest.mark.parametrize(
    ("method", "killed"), [("ader", MID_CYCLE), ("ader", BEFORE_WRITING), ("ewc", MID_CYCLE)]
)
def test_a_killed_run_continues_to_the_same_result(
    run: Run, arguments: list[str], out: Path, method: str, killed: str
) -> None:
    script = f"""
import os, signal
from ader_stream.cli.evaluation import progress, result as file
from ader_stream.cli.evaluation.evaluate import evaluate
write, die = file.ResultFile.write, lambda: os.kill(os.getpid(), signal.SIGKILL)
{killed}
evaluate()
"""
    command = [sys.executable, "-c", script, *arguments, "--method", method]
    ended = subprocess.run(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, check=False
    )
    assert ended.returncode == -9, ended.stderr.decode()
    assert len(json.loads(out.read_text())["cycles"]) == 1
    resumed = run("--method", method, "--resume")
    out.unlink()
    assert timeless(resumed) == timeless(run("--method", method))


def test_resuming_where_nothing_was_run_starts_at_the_first_cycle(run: Run) -> None:
    assert len(run("--cycles", "1", "--resume")["cycles"]) == 1


def test_a_finished_run_can_be_given_more_cycles(run: Run) -> None:
    run("--cycles", "1")
    more = run("--cycles", "2", "--resume")
    assert timeless(more) == timeless(run("--cycles", "2"))


def test_a_finished_run_is_left_alone(run: Run, out: Path) -> None:
    run("--cycles", "2")
    before = out.read_bytes()
    run("--cycles", "1", "--resume")
    assert out.read_bytes() == before


def test_without_resume_a_run_begins_again(run: Run) -> None:
    run("--cycles", "2")
    assert len(run("--cycles", "1")["cycles"]) == 1


def test_another_run_is_not_gone_on_with(run: Run) -> None:
    run("--cycles", "1")
    with pytest.raises(InputError, match="seed 0 instead of 1; repeat that run's options"):
        run("--resume", "--seed", "1")
    with pytest.raises(InputError, match="method 'ader' instead of 'joint'"):
        run("--resume", "--method", "joint")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"hyperparameters": {"learning_rate": 5.0}},
            r"hyperparameters\.learning_rate 5\.0 instead",
        ),
        ({"hyperparameters": {"unheard_of": 1}}, r"hyperparameters\.unheard_of 1 instead of none"),
        ({"periods": {2: "other"}}, r"periods\.2 'other' instead of '[0-9a-f]{64}'"),
        ({"code": "0.1.0+older"}, r"code '0\.1\.0\+older' instead of '"),
        ({"versions": {"torch": "1.0"}}, r"versions\.torch '1\.0' instead of '"),
        ({"machine": {"threads": 99}}, r"machine\.threads 99 instead of \d+"),
        ({"machine": {"precision": "float8"}}, r"machine\.precision 'float8' instead of '"),
        ({"machine": {"processes": 2}}, r"machine\.processes 2 instead of 1"),
        ({"machine": {"device": "cuda"}}, r"machine\.device 'cuda' instead of 'cpu"),
    ],
)
def test_a_run_that_anything_else_decided_is_not_resumed(
    run: Run, out: Path, change: dict[str, Any], message: str
) -> None:
    result = run("--cycles", "1")
    for name, value in change.items():
        if isinstance(value, dict):
            for key, inner in value.items():
                result[name][key] = inner
        else:
            result[name] = value
    out.write_text(json.dumps(result))
    with pytest.raises(InputError, match=message):
        run("--cycles", "2", "--resume")


def test_a_result_that_does_not_name_what_made_it_is_not_resumed(run: Run, out: Path) -> None:
    result = run("--cycles", "1")
    del result["periods"], result["hyperparameters"]
    out.write_text(json.dumps(result))
    with pytest.raises(
        InputError, match=r"periods\.0 \(not recorded\).*hyperparameters\.hidden \("
    ):
        run("--cycles", "2", "--resume")


def test_a_run_resumes_on_another_processor_and_with_later_periods_added(
    run: Run, out: Path
) -> None:
    result = run("--cycles", "1")
    result["machine"] |= {"processor": "another", "memory_bytes": 1}
    del result["periods"][3]
    out.write_text(json.dumps(result))
    assert len(run("--cycles", "2", "--resume")["cycles"]) == 2


def test_a_file_that_is_no_result_is_not_gone_on_with(run: Run, out: Path) -> None:
    out.write_text("[]")
    with pytest.raises(InputError, match="is not a result of an evaluation"):
        run("--resume")


def test_an_override_without_a_value_is_refused(arguments: list[str]) -> None:
    ended = CliRunner().invoke(evaluate, [*arguments, "--override", "max_epochs"])
    assert ended.exit_code == 2
    assert "'max_epochs': expected NAME=VALUE" in ended.output


@pytest.mark.parametrize(
    ("override", "reported"),
    [
        ("epochs=3", "recipe has no 'epochs' to override; it has: hidden, "),
        ("max_epochs=three", "max_epochs = 'three': expected a whole number"),
        ("max_epochs=2.5", "max_epochs = 2.5: expected a whole number"),
        ("max_epochs=nan", "max_epochs = nan: expected a whole number"),
        ("output_precision=float16", "'float16': expected auto, bfloat16, float32"),
        ("output_precision=32", "32.0: expected auto, bfloat16, float32"),
    ],
)
def test_an_override_that_the_recipe_cannot_have_is_refused(
    run: Run, override: str, reported: str
) -> None:
    with pytest.raises(SettingsError, match=reported):
        run("--override", override)


def test_the_precision_can_be_chosen(run: Run, out: Path) -> None:
    for precision in ("float32", "bfloat16"):
        run("--cycles", "1", "--override", f"output_precision={precision}")
        assert json.loads(out.read_text())["machine"]["precision"] == precision


def test_a_gpu_that_is_not_there_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(SettingsError, match="device 'cuda': torch sees 0 GPUs"):
        run("--device", "cuda")


def test_details_cost_more_and_come_on_demand(run: Run) -> None:
    [plain] = run("--cycles", "1")["cycles"]
    [detailed] = run("--cycles", "1", "--details")["cycles"]
    assert detailed.keys() - plain.keys() == {"forgetting", "top20"}
    assert [part["block"] for part in detailed["forgetting"]] == [0]
    assert 0 < detailed["top20"]["coverage"] <= 100


def test_plots_show_the_cycles_by_metric(run: Run, tmp_path: Path) -> None:
    run("--cycles", "1", "--plots", str(tmp_path / "new" / "plots"))
    plots = sorted((tmp_path / "new" / "plots").iterdir())
    assert [plot.name for plot in plots] == ["mrr_at_20.png", "recall_at_20.png"]
    assert all(plot.read_bytes().startswith(b"\x89PNG") for plot in plots)


def test_a_log_tells_every_epoch_and_cycle(arguments: list[str]) -> None:
    log = CliRunner().invoke(evaluate, [*arguments, "--cycles", "2"]).output
    for cycle in (1, 2):
        for epoch in (1, 2, 3):
            assert f"cycle {cycle}/2, epoch {epoch}: loss " in log
        assert f"cycle {cycle}: Recall@20 " in log
    assert re.search(r"cycle 1/2, epoch 3: .* samples/s, \? left", log)
    assert re.search(r"cycle 2/2, epoch 1: .* samples/s, \d+:\d\d:\d\d left", log)


@pytest.mark.parametrize("width", [40, 80, 120])
def test_the_bar_is_shown_with_everything_beside_it_on_a_narrow_terminal(width: int) -> None:
    bar = ProgressBar([100.0] * 16, finished=0)
    console = Console(file=io.StringIO(), width=width)
    where = "cycle 12/16, epoch 3: loss 6.123, validation Recall@20 45.33, 0:12:33 left"
    bar.update(bar.task_ids[0], description=where)
    with console.capture() as capture:
        console.print(bar.get_renderable())
    assert "…" not in capture.get()
    assert set(where.split()) <= set(capture.get().split())


def test_time_left_is_unknown_before_a_cycle_was_timed() -> None:
    assert seconds_left([10, 5, 5], before=1, done=1, seconds=0.0, since=9.0) is None


def test_time_left_follows_from_the_cycles_that_this_run_has_finished() -> None:
    assert seconds_left([10, 5, 5], before=1, done=2, seconds=100.0, since=30.0) == 70.0
    assert seconds_left([10, 5, 5], before=0, done=1, seconds=100.0, since=999.0) == 50.0


def test_more_cycles_than_periods_are_refused(run: Run) -> None:
    with pytest.raises(DatasetError, match="no period 4"):
        run("--cycles", "4")


def test_missing_output_folder_is_refused_before_training(run: Run, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="create it first"):
        run("--out", str(tmp_path / "nowhere" / "result.json"))
