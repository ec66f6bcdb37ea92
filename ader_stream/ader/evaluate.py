"""The paper's protocol without Kafka: train on a block, test on the next one (section 4.1)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial

import numpy as np

from ader_stream.ader.cycle import CycleReport, train_cycle
from ader_stream.ader.dataset import Int64, split_sessions
from ader_stream.ader.model import SASRec
from ader_stream.ader.ranking import rank_samples
from ader_stream.ader.recipes import Recipe
from ader_stream.ader.state import State
from ader_stream.ader.training import Progress
from ader_stream.ader.vocabulary import Vocabulary
from ader_stream.errors import DatasetError, SettingsError
from ader_stream.types import RECIPROCAL_UNIT, Counts

Sessions = Sequence[Sequence[str]]

METHODS: dict[str, Callable[[Recipe], Recipe]] = {
    "ader": lambda recipe: recipe,
    "dropout": lambda recipe: replace(recipe, exemplars=0),
    "finetune": lambda recipe: replace(recipe, exemplars=0, dropout=0.0),
}
"""What a method makes of a recipe."""


@dataclass(frozen=True, slots=True)
class CycleResult:
    """One cycle, trained and tested.

    Parameters
    ----------
    cycle
        t, from 1: trained through block t − 1, tested on block t.
    counts
        Of block t.
    report
        Of the training.
    rank_seconds
        Spent on the test.
    """

    cycle: int
    counts: Counts
    report: CycleReport
    rank_seconds: float


def _silence(cycle: int, progress: Progress) -> None:
    """Nobody watches."""


def method_recipe(method: str, recipe: Recipe) -> Recipe:
    """Return the recipe as a method uses it; raises SettingsError where there is no such method."""
    if method not in METHODS:
        raise SettingsError(f"method {method!r} is not known; use one of: {', '.join(METHODS)}")
    return METHODS[method](recipe)


def evaluate(
    periods: Sequence[Sessions],
    recipe: Recipe,
    seed: int,
    cycles: int | None = None,
    on_progress: Callable[[int, Progress], None] = _silence,
) -> Iterator[CycleResult]:
    """Train and test cycle after cycle.

    Parameters
    ----------
    periods
        Sessions (item ids in order) of each block; the first one is only trained on, the last
        one only tested.
    recipe
        Hyper-parameters.
    seed
        Not negative.
    cycles
        How many; by default as many as there are blocks after the first.
    on_progress
        Called with the cycle and its progress.

    Raises
    ------
    DatasetError
        There are fewer blocks than cycles and one.
    """
    last = len(periods) - 1 if cycles is None else cycles
    if not 1 <= last < len(periods):
        raise DatasetError(
            f"{last} cycles need {last + 1} periods and at least one cycle; "
            f"the data set has {len(periods)} periods"
        )
    state: State | None = None
    for cycle in range(1, last + 1):
        state, report = train_cycle(
            periods[cycle - 1], state, recipe, seed, partial(on_progress, cycle)
        )
        began = time.perf_counter()
        counts = score_sessions(state.model(), state.vocabulary, periods[cycle])
        yield CycleResult(cycle, counts, report, time.perf_counter() - began)


def score_sessions(model: SASRec, vocabulary: Vocabulary, sessions: Sessions) -> Counts:
    """Rank every known click of the sessions, given the known ones before it.

    Items that the vocabulary does not know are neither targets nor in a prefix; the counts
    tell how many clicks they were.
    """
    known = [vocabulary.encode(session) for session in sessions]
    unknown = sum(map(len, sessions)) - sum(map(len, known))
    samples = split_sessions(known, model.architecture.maxlen)
    return counts_of(rank_samples(model, samples)) + Counts(unknown=unknown)


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


def as_json(result: CycleResult) -> dict[str, object]:
    """Return one entry of the command's ``cycles``: percentages as in the paper, plain numbers."""
    report = asdict(result.report)
    report["lambda"] = report.pop("adaptive_weight")
    return {
        "cycle": result.cycle,
        **result.counts.percentages(),
        "targets": result.counts.targets,
        "unknown_items": result.counts.unknown,
        **report,
        "rank_seconds": result.rank_seconds,
    }
