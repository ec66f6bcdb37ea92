"""Train and test as `Request` says, and keep the result after every cycle."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import torch

from ader_stream.ader.artifact.saved_states import keep_only, load_state, save_state
from ader_stream.ader.data.dataset import Sessions
from ader_stream.ader.device import chosen_device, describe_device, use_threads
from ader_stream.ader.distributed import ProcessGroup, join_process_group
from ader_stream.ader.evaluate import EvaluatedCycle, as_json, details
from ader_stream.ader.evaluate import evaluate as run_cycles
from ader_stream.ader.methods import Method, method
from ader_stream.ader.recipes import Recipe, overridden, recipe
from ader_stream.ader.training.losses import output_precision
from ader_stream.cli.evaluation.blocks import read_blocks
from ader_stream.cli.evaluation.progress import ProgressBar
from ader_stream.cli.evaluation.request import Request
from ader_stream.cli.evaluation.result import ResultFile
from ader_stream.cli.extras import require
from ader_stream.paths import make_folder, require_folder
from ader_stream.runtime.code_version import code_version
from ader_stream.runtime.machine import describe_machine, peak_rss_bytes
from ader_stream.runtime.memory.allocator import give_back_freed


def run(asked: Request) -> None:
    """Evaluate, and write a complete result after every cycle."""
    if asked.plots:
        require("matplotlib")  # before hours of training
        make_folder(asked.plots, "--plots")
    blocks, fingerprints = read_blocks(
        asked.dataset, asked.rule, asked.gap, asked.table, asked.cycles
    )
    last = len(blocks) - 1
    how = method(asked.method)
    hyper = overridden(recipe(asked.recipe), asked.overrides)
    use_threads()
    require_folder(asked.out.parent, f"the folder for --out {asked.out}; create it first")
    with join_process_group(chosen_device(asked.device)) as processes:
        result = _result_file(asked, how.adapt(hyper), fingerprints, processes)
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


def _result_file(
    asked: Request, hyper: Recipe, periods: Sequence[str], processes: ProcessGroup
) -> ResultFile:
    """Collect all inputs of the result, and continue an earlier one if requested."""
    result = ResultFile(
        asked.out,
        run={
            "dataset": asked.dataset.resolve().name,
            "fingerprint": periods[0],
            "periods": [*periods],
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
