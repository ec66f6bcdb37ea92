"""What share of the machine's limit training reaches, for each recipe and size of catalogue.

    python -m tests.benchmarks.training_speed [--threads N] [--out FILE]

The limit of a step is what no implementation of a full softmax can avoid: three products of the
output layer (scores, and their gradients by sessions and by items) and one pass of Adam over the
item table, each measured alone with torch. Limit and steps are measured in turn, in CPU seconds
of the process divided by its threads, so that what else the machine does hits both alike.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import cycle, islice
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch.optim.lr_scheduler import ConstantLR

from ader_stream.ader.artifact.state import resumed_adam
from ader_stream.ader.data.dataset import Samples, shuffled_batches, split_sessions
from ader_stream.ader.device import CPU
from ader_stream.ader.models.base import SessionModel
from ader_stream.ader.models.encoders import build_model
from ader_stream.ader.recipes import PAPER, PRODUCTION, Recipe
from ader_stream.ader.training.learner import Learner, build_loss
from ader_stream.ader.training.replay import Replay
from ader_stream.runtime.machine import describe_machine

CATALOGUES = (20_000, 43_136)
MEAN_CLICKS = 4.8  # of a session, as in DIGINETICA
ROUNDS, STEPS = 7, 6


@dataclass(frozen=True, slots=True)
class Measured:
    """Medians over the rounds.

    Parameters
    ----------
    recipe, items, batch_size
        What was measured.
    limit_ms, step_ms
        Of a step, per thread.
    share
        limit / step.
    samples_per_second
        Of all threads together.
    """

    recipe: str
    items: int
    batch_size: int
    limit_ms: float
    step_ms: float
    share: float
    samples_per_second: float


def main() -> None:
    options = asked(__doc__)
    torch.set_num_threads(options.threads)
    recipes = {
        "paper": PAPER,
        "paper, not fused": replace(PAPER, fused=False),
        "production, all items": replace(PRODUCTION, negatives=0),
        "production": PRODUCTION,
    }
    results = []
    for items in CATALOGUES:
        for name, recipe in recipes.items():
            results.append(measure(name, recipe, items))
            print(table_row(results[-1]))
    if options.out:
        write_report(options.out, options.threads, map(asdict, results))


def asked(description: str | None) -> argparse.Namespace:
    """Read threads and result file from the command line."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


def write_report(file: Path, threads: int, results: Iterable[Mapping[str, object]]) -> None:
    """Write what was measured, and where."""
    report = {
        "machine": describe_machine(threads),
        "torch": torch.__version__,
        "results": list(results),
    }
    file.write_text(json.dumps(report, indent=2) + "\n")


def measure(name: str, recipe: Recipe, items: int) -> Measured:
    """Measure limit and steps of a recipe in turn."""
    step, limit = training_step(recipe, items), least_work(recipe, items)
    step(), limit()
    pairs = [(cpu_seconds(limit), cpu_seconds(step)) for _ in range(ROUNDS)]
    least, taken = (median(times) / STEPS for times in zip(*pairs, strict=True))
    return Measured(
        recipe=name,
        items=items,
        batch_size=recipe.batch_size,
        limit_ms=round(1000 * least, 2),
        step_ms=round(1000 * taken, 2),
        share=round(median(a / b for a, b in pairs), 3),
        samples_per_second=round(recipe.batch_size / taken),
    )


def training_step(recipe: Recipe, items: int) -> Callable[[], None]:
    """Return what takes `STEPS` gradient steps on simulated sessions."""
    rng = np.random.default_rng(0)
    samples = simulated(items, recipe, rng)
    batches = cycle(shuffled_batches(samples.lengths, recipe.batch_size, rng))
    model = new_model(recipe, items)
    adam = resumed_adam(model, {}, recipe.learning_rate)
    clicks = torch.from_numpy(np.bincount(samples.items, minlength=items + 1)[1:])
    learner = Learner(
        model.train(), adam, ConstantLR(adam, 1.0), Replay(), build_loss(recipe, clicks)
    )

    def run() -> None:
        for rows in islice(batches, STEPS):
            learner.step(samples, rows)

    return run


def least_work(recipe: Recipe, items: int) -> Callable[[], None]:
    """Return what makes `STEPS` times the products and the optimizer's pass, and nothing else."""
    generator = torch.Generator().manual_seed(0)
    sessions = torch.randn(recipe.batch_size, recipe.hidden, generator=generator)
    sessions = sessions.to(recipe.precision_on(CPU))
    table = torch.nn.Parameter(torch.randn(items, recipe.hidden, generator=generator))
    narrow = table.detach().to(recipe.precision_on(CPU))
    scores = torch.empty(recipe.batch_size, items, dtype=recipe.precision_on(CPU))
    by_sessions, by_table = torch.empty_like(sessions), torch.empty_like(narrow)
    table.grad = torch.zeros_like(table)
    adam = torch.optim.Adam([table], lr=1e-6, fused=True)

    def run() -> None:
        for _ in range(STEPS):
            torch.mm(sessions, narrow.T, out=scores)
            torch.mm(scores, narrow, out=by_sessions)
            torch.mm(scores.T, sessions, out=by_table)
            adam.step()

    return run


def new_model(recipe: Recipe, items: int) -> SessionModel:
    """Draw a model of its own for a catalogue."""
    generator = torch.Generator().manual_seed(0)
    model = build_model(recipe.architecture, 0, recipe.dropped)
    model.initialise(generator)
    model.grow(items, generator, recipe.item_bound)
    return model


def simulated(items: int, recipe: Recipe, rng: np.random.Generator) -> Samples:
    """Draw sessions of items, enough for a round without one that comes twice."""
    lengths = rng.geometric(1 / MEAN_CLICKS, size=STEPS * recipe.batch_size)
    return split_sessions(
        (rng.integers(1, items + 1, size=length).tolist() for length in lengths), recipe.maxlen
    )


def cpu_seconds(work: Callable[[], None]) -> float:
    """CPU time of some work, per thread."""
    began = time.process_time()
    work()
    return (time.process_time() - began) / torch.get_num_threads()


def table_row(measured: Measured) -> str:
    """One line for people."""
    return (
        f"{measured.recipe:18}{measured.items:>8,} items, batch {measured.batch_size}: limit "
        f"{measured.limit_ms:6.1f} ms, step {measured.step_ms:6.1f} ms, share "
        f"{measured.share:.2f}, {measured.samples_per_second:,} samples/s"
    )


if __name__ == "__main__":
    main()
