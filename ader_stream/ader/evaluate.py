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
from ader_stream.ader.distributed import ALONE, Workers
from ader_stream.ader.methods import ADER, Method
from ader_stream.ader.metrics import describe_lists, slice_counts
from ader_stream.ader.models.base import SessionModel
from ader_stream.ader.models.ranking import rank_samples
from ader_stream.ader.progress import Progress
from ader_stream.ader.recipes import Recipe
from ader_stream.ader.report import CycleReport
from ader_stream.errors import DatasetError
from ader_stream.types import RECIPROCAL_UNIT, Counts

REMEMBERED = 5_000
"""Clicks of each earlier block that forgetting is measured by: a recall of so many has a standard
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
        What the next cycle goes on from.
    """

    cycle: int
    counts: Counts
    slices: dict[str, Counts]
    report: CycleReport
    rank_seconds: float
    state: State


def _silence(cycle: int, progress: Progress) -> None:
    """Nobody watches."""


def evaluate(
    blocks: Sequence[Sessions],
    recipe: Recipe,
    seed: int,
    method: Method = ADER,
    cycles: int | None = None,
    on_progress: Callable[[int, Progress], None] = _silence,
    resumed: tuple[int, State] | None = None,
    workers: Workers = ALONE,
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
        What a cycle does with the past.
    cycles
        The last one; by default as many as there are blocks after the first.
    on_progress
        Called with the cycle and its progress.
    resumed
        Cycles that an earlier run has done, and the state that it has come to: what follows is
        the same as if it had gone on.
    workers
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
        sessions, parent = method.gather(blocks[:cycle], state)
        watch = partial(on_progress, cycle)
        result = train_cycle(sessions, parent, recipe, seed, watch, method, workers)
        state = result.state
        yield _tested(cycle, blocks[cycle], state, result.report, workers.device)


def _tested(
    cycle: int, block: Sessions, state: State, report: CycleReport, device: torch.device
) -> EvaluatedCycle:
    """Test a cycle on the next block; model and ranks are gone before the next cycle begins."""
    began = time.perf_counter()
    model = state.model(device=device)
    samples, ranks, unknown = rank_sessions(model, state.vocabulary, block)
    counts = counts_of(ranks) + Counts(unknown=unknown)
    old_items = report.items - report.new_items
    slices = slice_counts(samples, ranks, old_items, counts_of)
    return EvaluatedCycle(cycle, counts, slices, report, time.perf_counter() - began, state)


def rank_sessions(
    model: SessionModel, vocabulary: Vocabulary, sessions: Sessions
) -> tuple[Samples, Int64, int]:
    """Rank every known click of the sessions, given the known ones before it.

    Items that the vocabulary does not know are neither targets nor in a prefix.

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
    """Count hits and unknown clicks; of more targets than `most`, as many are drawn and ranked."""
    samples, unknown = _known_samples(model, vocabulary, sessions)
    if most is not None:
        samples = samples.take(np.random.default_rng(len(samples)).permutation(len(samples))[:most])
    return counts_of(rank_samples(model, samples)) + Counts(unknown=unknown)


def _known_samples(
    model: SessionModel, vocabulary: Vocabulary, sessions: Sessions
) -> tuple[Samples, int]:
    known = [vocabulary.encode(session) for session in sessions]
    unknown = sum(map(len, sessions)) - sum(map(len, known))
    return split_sessions(known, model.architecture.maxlen), unknown


def details(
    state: State, blocks: Sequence[Sessions], device: torch.device = CPU
) -> dict[str, object]:
    """Tell what costs more than the test itself, as fields of a cycle's entry.

    Parameters
    ----------
    state
        What cycle t has come to.
    blocks
        Blocks 0 … t.
    device
        What to compute on.

    Returns
    -------
    dict
        ``forgetting``: the scores of version t on each block k < t, all of which it or a parent
        was trained on: on `REMEMBERED` of its clicks, each time the same. ``top20``:
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


def counts_of(ranks: Int64) -> Counts:
    """Hits and reciprocal ranks of zero-based ranks.

    >>> counts_of(np.array([0, 1, 12, 20])).percentages()["recall@20"]
    75.0
    """
    hits = np.bincount(ranks[ranks < 20], minlength=20)
    shares = RECIPROCAL_UNIT // np.arange(1, 21)
    return Counts(
        targets=len(ranks),
        hits10=int(hits[:10].sum()),
        hits20=int(hits.sum()),
        reciprocal10=int(hits[:10] @ shares[:10]),
        reciprocal20=int(hits @ shares),
    )


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
