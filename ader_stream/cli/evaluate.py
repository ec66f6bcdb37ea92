"""``ader-stream evaluate``: the paper's protocol on a data set, without Kafka."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from statistics import fmean

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from ader_stream.ader import training
from ader_stream.ader.evaluate import METHODS, CycleResult, as_json, method_recipe
from ader_stream.ader.evaluate import evaluate as run_cycles
from ader_stream.ader.recipes import RECIPES, recipe
from ader_stream.datasets.folder import period_files, read_folder_sessions
from ader_stream.errors import InputError

METRICS = ("recall@10", "recall@20", "mrr@10", "mrr@20")


@click.command()
@click.option(
    "--dataset",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder of period_N.txt[.gz].",
)
@click.option("--method", type=click.Choice(list(METHODS)), default="ader", show_default=True)
@click.option(
    "--recipe", "recipe_name", type=click.Choice(list(RECIPES)), default="paper", show_default=True
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option(
    "--cycles",
    type=click.IntRange(min=1),
    show_default="one for every period after the first",
    help="Update cycles; cycle t trains on period t - 1 and is tested on period t.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="JSON file, written anew after every cycle.",
)
def evaluate(
    dataset: Path, method: str, recipe_name: str, seed: int, cycles: int | None, out: Path
) -> None:
    """Train and test cycle after cycle as the paper does; no Kafka is needed."""
    if not out.parent.is_dir():
        raise InputError(f"--out {out}: its folder is not there; create it first")
    last = len(period_files(dataset)) - 1 if cycles is None else cycles
    periods = read_folder_sessions(dataset, range(last + 1))
    head: dict[str, object] = {
        "dataset": dataset.resolve().name,
        "method": method,
        "recipe": recipe_name,
        "seed": seed,
        "versions": _versions(),
    }
    entries: list[dict[str, object]] = []
    with _Bar(last) as bar:
        how = method_recipe(method, recipe(recipe_name))
        for result in run_cycles(periods, how, seed, last, bar.show):
            entries.append(as_json(result))
            _write(out, {**head, "cycles": entries, "mean": _mean(entries)})
            bar.console.print(_summary(result), highlight=False)


class _Bar(Progress):
    """The batches of an epoch as a bar, on standard error."""

    def __init__(self, cycles: int) -> None:
        super().__init__(
            TextColumn("{task.description}"),
            BarColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self.cycles = cycles
        self.epoch = self.add_task("")

    def show(self, cycle: int, now: training.Progress) -> None:
        """Show where a cycle is."""
        recall = now.validation_recall20
        validated = "" if recall is None else f", validation Recall@20 {recall:.2f}"
        self.update(
            self.epoch,
            completed=now.step,
            total=now.steps,
            description=(
                f"cycle {cycle}/{self.cycles}, epoch {now.epoch}: loss {now.loss:.3f}{validated}, "
                f"{now.samples_per_second:,.0f} samples/s"
            ),
        )


def _summary(result: CycleResult) -> str:
    report, percent = result.report, result.counts.percentages()
    return (
        f"cycle {result.cycle}: Recall@20 {percent.get('recall@20', 0):.2f}, "
        f"MRR@20 {percent.get('mrr@20', 0):.2f}; {report.epochs} epochs in "
        f"{report.train_seconds:.0f} s, {report.samples_per_second:,.0f} samples/s"
    )


def _mean(entries: Iterable[dict[str, object]]) -> dict[str, float]:
    """Average the cycles that had a target, each with the same weight, as in the paper."""
    scored = [entry for entry in entries if entry["targets"]]
    return {name: fmean(float(str(entry[name])) for entry in scored) for name in METRICS if scored}


def _versions() -> dict[str, str]:
    packages = {name: version(name) for name in ("ader-stream", "numpy", "torch")}
    return {"python": platform.python_version(), **packages}


def _write(out: Path, result: dict[str, object]) -> None:
    """Replace the file at once, so that it is whole whenever it is read."""
    part = out.with_name(out.name + ".part")
    part.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    part.replace(out)
