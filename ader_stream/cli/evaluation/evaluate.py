"""``ader-stream evaluate``: run the paper's protocol on a data set, without Kafka."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import torch

from ader_stream.ader.artifact.saved_states import keep_only, load_state, save_state
from ader_stream.ader.data.dataset import Sessions
from ader_stream.ader.device import CHOICES, chosen_device, describe_device, use_threads
from ader_stream.ader.distributed import ProcessGroup, join_process_group
from ader_stream.ader.evaluate import EvaluatedCycle, as_json, details
from ader_stream.ader.evaluate import evaluate as run_cycles
from ader_stream.ader.methods import METHODS, Method, method
from ader_stream.ader.recipes import RECIPES, Recipe, overridden, recipe
from ader_stream.ader.training.losses import output_precision
from ader_stream.cli.evaluation.progress import ProgressBar
from ader_stream.cli.evaluation.result import ResultFile
from ader_stream.cli.extras import require
from ader_stream.datasets.folder import fingerprint_of, period_files, read_folder_sessions
from ader_stream.paths import make_folder, require_folder
from ader_stream.runtime.code_version import code_version
from ader_stream.runtime.machine import describe_machine, peak_rss_bytes
from ader_stream.runtime.memory import give_back_freed


def _read_overrides(
    _ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]
) -> dict[str, float | str]:
    """Read every ``NAME=VALUE``, as a number if possible."""
    overrides: dict[str, float | str] = {}
    for given in values:
        name, is_pair, value = given.partition("=")
        if not is_pair:
            raise click.BadParameter(f"{given!r}: expected NAME=VALUE, max_epochs=3 say")
        try:
            overrides[name] = float(value)
        except ValueError:
            overrides[name] = value
    return overrides


@click.command()
@click.option(
    "--dataset",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder of period_N.txt[.gz].",
)
@click.option(
    "--method",
    type=click.Choice(list(METHODS)),
    default="ader",
    show_default=True,
    help="ADER, or one of the paper's baselines and ablations.",
)
@click.option(
    "--recipe",
    type=click.Choice(list(RECIPES)),
    default="paper",
    show_default=True,
    help="Set of hyper-parameters; production is what the trainer runs.",
)
@click.option(
    "--override",
    "overrides",
    metavar="NAME=VALUE",
    multiple=True,
    callback=_read_overrides,
    help="A hyper-parameter that differs from the recipe's; may be repeated.",
)
@click.option(
    "--device",
    type=click.Choice(CHOICES),
    default="auto",
    show_default=True,
    help="Device; auto is a GPU if torch finds one, else the CPU.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Seed of all random numbers.",
)
@click.option(
    "--cycles",
    type=click.IntRange(min=1),
    show_default="one for every period after the first",
    help="Update cycles; cycle t trains on period t - 1 and is tested on period t.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Continue after the last cycle in --out; its state is in OUT.state.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="JSON file, replaced after every cycle.",
)
@click.option(
    "--details",
    "with_details",
    is_flag=True,
    help="Also test every version on all earlier blocks (forgetting), and report the top 20's "
    "diversity and coverage: takes about as long as the tests of all cycles so far.",
)
@click.option(
    "--plots",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the paper's figure: this run over the published curves, after every cycle.",
)
def evaluate(**options: Any) -> None:
    """Train and test cycle after cycle, as in the paper; no Kafka is needed."""
    run(Request(**options))


@dataclass(frozen=True, slots=True)
class Request:
    """The options of the command; see its help."""

    dataset: Path
    method: str
    recipe: str
    overrides: dict[str, float | str]
    device: str
    seed: int
    cycles: int | None
    resume: bool
    out: Path
    plots: Path | None
    with_details: bool


def run(asked: Request) -> None:
    """Evaluate, and write a complete result after every cycle."""
    if asked.plots:
        require("matplotlib")  # before hours of training
        make_folder(asked.plots, "--plots")
    last = len(period_files(asked.dataset)) - 1 if asked.cycles is None else asked.cycles
    blocks = read_folder_sessions(asked.dataset, range(last + 1))
    how = method(asked.method)
    hyper = overridden(recipe(asked.recipe), asked.overrides)
    use_threads()
    require_folder(asked.out.parent, f"the folder for --out {asked.out}; create it first")
    with join_process_group(chosen_device(asked.device)) as processes:
        result = _result_file(asked, how.adapt(hyper), processes)
        finished = len(result.cycles)
        resumed = (finished, load_state(result.states, finished)) if finished else None
        work = _work(how, blocks[:last])
        with ProgressBar(work, finished, quiet=not processes.leads) as bar:
            for done in run_cycles(
                blocks, hyper, asked.seed, how, last, bar.show, resumed, processes
            ):
                if processes.leads:
                    _keep(asked, result, done, blocks, processes.device)
                bar.finish_cycle(done)
                give_back_freed()


def _keep(
    asked: Request,
    result: ResultFile,
    done: EvaluatedCycle,
    blocks: Sequence[Sessions],
    device: torch.device,
) -> None:
    """Write the result of a cycle, so that a killed evaluation can continue from its state."""
    save_state(result.states, done.cycle, done.state)
    result.cycles.append(_entry(asked, done, blocks, device))
    result.write()
    keep_only(result.states, done.cycle)
    if asked.plots:
        _draw(result, asked.plots)


def _result_file(asked: Request, hyper: Recipe, processes: ProcessGroup) -> ResultFile:
    """Collect all inputs of the result, and continue an earlier one if requested."""
    periods = [fingerprint_of(file) for file in period_files(asked.dataset)]
    result = ResultFile(
        asked.out,
        run={
            "dataset": asked.dataset.resolve().name,
            "fingerprint": periods[0],
            "periods": periods,
            "method": asked.method,
            "recipe": asked.recipe,
            "overrides": asked.overrides,
            "hyperparameters": asdict(hyper),
            "seed": asked.seed,
            "code": code_version(),
            "versions": _versions(),
        },
        machine={
            **describe_machine(torch.get_num_threads()),
            "processes": processes.count,
            "device": describe_device(processes.device),
            "precision": str(output_precision(hyper, processes.device)).removeprefix("torch."),
        },
    )
    if asked.resume:
        result.resume()
    return result


def _entry(
    asked: Request, done: EvaluatedCycle, blocks: Sequence[Sessions], device: torch.device
) -> dict[str, object]:
    more = details(done.state, blocks[: done.cycle + 1], device) if asked.with_details else {}
    return {**as_json(done), "peak_rss_bytes": peak_rss_bytes(), **more}


def _draw(result: ResultFile, folder: Path) -> None:
    from ader_stream.cli.evaluation.plots import draw_result  # noqa: PLC0415 - matplotlib is optional

    draw_result(result, folder)


def _work(how: Method, blocks: Sequence[Sessions]) -> list[float]:
    """Return the number of clicks that each cycle trains on."""
    gathered = (how.training_data(blocks[: cycle + 1], None)[0] for cycle in range(len(blocks)))
    return [float(sum(map(len, sessions))) for sessions in gathered]


def _versions() -> dict[str, str]:
    packages = {name: version(name) for name in ("ader-stream", "numpy", "safetensors", "torch")}
    return {"python": platform.python_version(), **packages}
