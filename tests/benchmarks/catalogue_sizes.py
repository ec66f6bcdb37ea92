"""What a sample costs in training, by size of the catalogue, with a full and a sampled softmax.

    python -m tests.benchmarks.catalogue_sizes [--threads N] [--out FILE]

Sessions are simulated. Every measurement has a process of its own, so that memory is its own.
"""

from __future__ import annotations

import resource
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from statistics import median

import torch

from ader_stream.ader.recipes import RECIPES
from tests.benchmarks.training_speed import STEPS, asked, cpu_seconds, training_step, write_report

CATALOGUES = (20_000, 100_000, 1_000_000)
NEGATIVES = (0, 2_000)
ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Measured:
    """What steps cost.

    Parameters
    ----------
    recipe, items, negatives, batch_size
        What was measured; 0 negatives: a full softmax.
    sample_ms
        CPU time of a sample, all threads together; median over the rounds.
    memory_bytes
        What training has added to the process at its peak, model and optimizer included.
    memory_bytes_per_sample
        That, over the samples of a batch.
    """

    recipe: str
    items: int
    negatives: int
    batch_size: int
    sample_ms: float
    memory_bytes: int
    memory_bytes_per_sample: int


def main() -> None:
    options = asked(__doc__)
    results = []
    for recipe in RECIPES:
        for items in CATALOGUES:
            for negatives in NEGATIVES:
                with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
                    case = (recipe, items, negatives, options.threads)
                    results.append(alone.submit(measure, *case).result())
                print(table_row(results[-1]), flush=True)
    if options.out:
        write_report(options.out, options.threads, map(asdict, results))


def measure(name: str, items: int, negatives: int, threads: int) -> Measured:
    """Measure the training steps of a recipe."""
    torch.set_num_threads(threads)
    recipe = replace(RECIPES[name], negatives=negatives)
    before = peak_memory()
    run = training_step(recipe, items)
    run()
    seconds = median(cpu_seconds(run) for _ in range(ROUNDS)) * threads / STEPS
    memory = peak_memory() - before
    return Measured(
        recipe=name,
        items=items,
        negatives=negatives,
        batch_size=recipe.batch_size,
        sample_ms=round(1000 * seconds / recipe.batch_size, 3),
        memory_bytes=memory,
        memory_bytes_per_sample=memory // recipe.batch_size,
    )


def peak_memory() -> int:
    """Highest resident memory of this process so far, bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def table_row(measured: Measured) -> str:
    """One line for people."""
    softmax = f"{measured.negatives:,} negatives" if measured.negatives else "all items"
    return (
        f"{measured.recipe:10} {measured.items:>9,} items, softmax over {softmax:15}: "
        f"{measured.sample_ms:7.2f} ms a sample, {measured.memory_bytes / 2**20:8,.0f} MiB"
    )


if __name__ == "__main__":
    main()
