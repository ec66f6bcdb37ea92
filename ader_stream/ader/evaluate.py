"""The paper's protocol without Kafka: train on a block, test on the next one (section 4.1)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np
import torch

from ader_stream.ader.artifact.state import State
from ader_stream.ader.cycle import train_cycle
from ader_stream.ader.data.arrays import Int64
from ader_stream.ader.data.dataset import Samples, Sessions, split_sessions
from ader_stream.ader.data.vocabulary import Vocabulary
from ader_stream.ader.device import CPU
from ader_stream.ader.distributed import SINGLE_PROCESS, ProcessGroup
from ader_stream.ader.methods import ADER, Method
from ader_stream.ader.metrics import count_ranks, describe_lists, slice_counts
from ader_stream.ader.models.base import SessionModel
from ader_stream.ader.models.ranking import rank_samples
from ader_stream.ader.progress import Progress
from ader_stream.ader.recipes import Recipe
from ader_stream.ader.report import CycleReport
from ader_stream.errors import DatasetError
from ader_stream.types import Counts

REMEMBERED = 5_000
"""Clicks of each earlier block that forgetting is measured on: their recall has a standard
error of 0.7 points at most."""


@dataclass(frozen=True, eq=False)
class EvaluatedCycle:
    """One cycle, trained and tested.

    Parameters
    ----------
    cycle
        t, from 1: trained through block t − 1, tested on block t.
    counts
        Of block t.
    slices
        The same targets in parts, see `slice_counts`.
    report
        Of the training.
    rank_seconds
        Spent on the test.
    state
        The version, from which the next cycle continues.
    """

    cycle: int
    counts: Counts
    slices: dict[str, Counts]
    report: CycleReport
    rank_seconds: float
    state: State


def _silence(cycle: int, progress: Progress) -> None:
    """Ignore the progress."""


def evaluate(
    blocks: Sequence[Sessions],
    recipe: Recipe,
    seed: int,
    method: Method = ADER,
    cycles: int | None = None,
    on_progress: Callable[[int, Progress], None] = _silence,
    resumed: tuple[int, State] | None = None,
    processes: ProcessGroup = SINGLE_PROCESS,
) -> Iterator[EvaluatedCycle]:
    """Train and test cycle after cycle.

    Parameters
    ----------
    blocks
        Sessions (item ids in order) of each; the first one is only trained on, the last one only
        tested.
    recipe
        Hyper-parameters.
    seed
        Not negative.
    method
        How a cycle uses its parent.
    cycles
        The last one; by default as many as there are blocks after the first.
    on_progress
        Called with the cycle and its progress.
    resumed
        Number of cycles that an earlier run finished, and its last state: the cycles that follow
        are the same as without an interruption.
    processes
        Processes that train together.

    Raises
    ------
    DatasetError
        There are fewer blocks than cycles and one.
    """
    last = len(blocks) - 1 if cycles is None else cycles
    if not 1 <= last < len(blocks):
        raise DatasetError(
            f"{last} cycles need {last + 1} periods and at least one cycle; "
            f"the data set has {len(blocks)} periods"
        )
    finished, state = resumed or (0, None)
    for cycle in range(finished + 1, last + 1):
        sessions, parent = method.training_data(blocks[:cycle], state)
        watch = partial(on_progress, cycle)
        result = train_cycle(sessions, parent, recipe, seed, watch, method, processes)
        state = result.state
        yield _tested(cycle, blocks[cycle], state, result.report, processes.device)


def _tested(
    cycle: int, block: Sessions, state: State, report: CycleReport, device: torch.device
) -> EvaluatedCycle:
    """Test a cycle on the next block; model and ranks are freed before the next cycle begins."""
    began = time.perf_counter()
    model = state.model(device=device)
    samples, ranks, unknown = rank_sessions(model, state.vocabulary, block)
    counts = count_ranks(ranks) + Counts(unknown=unknown)
    old_items = report.items - report.new_items
    slices = slice_counts(samples, ranks, old_items)
    return EvaluatedCycle(cycle, counts, slices, report, time.perf_counter() - began, state)


def rank_sessions(
    model: SessionModel, vocabulary: Vocabulary, sessions: Sessions
) -> tuple[Samples, Int64, int]:
    """Rank every known click of the sessions, given the known ones before it.

    Items that are not in the vocabulary are neither targets nor in a prefix.

    Returns
    -------
    samples, ranks, unknown
        The targets with their prefixes (S,), their zero-based ranks (S,), and how many clicks
        are on unknown items.
    """
    samples, unknown = _known_samples(model, vocabulary, sessions)
    return samples, rank_samples(model, samples), unknown


def score_sessions(
    model: SessionModel, vocabulary: Vocabulary, sessions: Sessions, most: int | None = None
) -> Counts:
    """Count hits and unknown clicks; of more targets than `most`, that many are drawn at random."""
    samples, unknown = _known_samples(model, vocabulary, sessions)
    if most is not None:
        samples = samples.take(np.random.default_rng(len(samples)).permutation(len(samples))[:most])
    return count_ranks(rank_samples(model, samples)) + Counts(unknown=unknown)


def _known_samples(
    model: SessionModel, vocabulary: Vocabulary, sessions: Sessions
) -> tuple[Samples, int]:
    known = [vocabulary.encode(session) for session in sessions]
    unknown = sum(map(len, sessions)) - sum(map(len, known))
    return split_sessions(known, model.architecture.maxlen), unknown


def details(
    state: State, blocks: Sequence[Sessions], device: torch.device = CPU
) -> dict[str, object]:
    """Return the metrics that cost more than the test itself, as fields of a cycle's entry.

    Parameters
    ----------
    state
        The version of cycle t.
    blocks
        Blocks 0 … t.
    device
        Where to compute.

    Returns
    -------
    dict
        ``forgetting``: the scores of version t on each block k < t, on which it or a parent was
        trained: on the same `REMEMBERED` clicks of it in every cycle. ``top20``:
        `describe_lists` of block t.
    """
    model, vocabulary = state.model(device=device), state.vocabulary
    *before, tested = blocks
    known = (vocabulary.encode(session) for session in tested)
    samples = split_sessions(known, model.architecture.maxlen)
    return {
        "forgetting": [
            {"block": k, **scores_json(score_sessions(model, vocabulary, sessions, REMEMBERED))}
            for k, sessions in enumerate(before)
        ],
        "top20": describe_lists(model, samples),
    }


def as_json(result: EvaluatedCycle) -> dict[str, object]:
    """Return one entry of the command's ``cycles``: percentages as in the paper, plain numbers."""
    report = asdict(result.report)
    report["lambda"] = report.pop("adaptive_weight")
    del report["frequent_items"]  # for serving
    best = result.report.best_epoch - 1
    validation = result.report.validation
    return {
        "cycle": result.cycle,
        **scores_json(result.counts),
        "unknown_items": result.counts.unknown,
        "validation_recall@20": validation[best] if validation else None,
        **report,
        "rank_seconds": result.rank_seconds,
        "slices": {name: scores_json(counts) for name, counts in result.slices.items()},
    }


def scores_json(counts: Counts) -> dict[str, float]:
    """Percentages and the number of targets; without targets that number alone."""
    return {**counts.percentages(), "targets": counts.targets}
