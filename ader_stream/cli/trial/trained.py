"""Train and test methods on a trial's blocks, within a limited time."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from ader_stream.ader.artifact.state import State
from ader_stream.ader.evaluate import EvaluatedCycle, evaluate
from ader_stream.ader.methods import method
from ader_stream.ader.progress import Progress
from ader_stream.ader.recipes import recipe
from ader_stream.cli.trial.sample import Sessions

Say = Callable[[str], None]


class Trained(NamedTuple):
    """The scores of a method.

    Parameters
    ----------
    name
        Method and recipe.
    recall, mrr
        At 20, in percent, of each block that was predicted in time.
    seconds
        Training and selection of exemplars, of each cycle.
    clicks
        Of the block that each cycle trained on.
    first
        The version of the first cycle; None if there was no time for it.
    """

    name: str
    recall: list[float]
    mrr: list[float]
    seconds: list[float]
    clicks: list[int]
    first: State | None


class _OutOfTime(Exception):  # noqa: N818 - no error: the cycles that are done count
    """The time of a method is over."""


def train_method(
    name: str,
    how: str,
    recipe_name: str,
    blocks: Sequence[Sessions],
    limit: float,
    first: Trained | None = None,
) -> Trained:
    """Run the cycles of a method until its time is over.

    Parameters
    ----------
    name
        Shown on the page.
    how, recipe_name
        Method and recipe.
    blocks
        The first one is trained on, the last one tested.
    limit
        Seconds, after which the running cycle is given up.
    first
        Method with the same first cycle, which is taken from it.
    """
    until = time.monotonic() + limit

    def watch(_cycle: int, _progress: Progress) -> None:
        if time.monotonic() > until:
            raise _OutOfTime

    done = Trained(name, [], [], [], [], None)
    resumed = None
    if first and first.first:
        done = Trained(
            name,
            first.recall[:1],
            first.mrr[:1],
            first.seconds[:1],
            first.clicks[:1],
            first.first,
        )
        resumed = (1, first.first)
    cycles = evaluate(
        blocks, recipe(recipe_name), 0, method(how), on_progress=watch, resumed=resumed
    )
    try:
        for cycle in cycles:
            done = _with_cycle(done, cycle)
    except _OutOfTime:
        pass
    return done


def _with_cycle(done: Trained, cycle: EvaluatedCycle) -> Trained:
    percent, report = cycle.counts.percentages(), cycle.report
    done.recall.append(percent.get("recall@20", 0.0))
    done.mrr.append(percent.get("mrr@20", 0.0))
    done.seconds.append(report.train_seconds + report.herding_seconds)
    done.clicks.append(report.clicks)
    return done._replace(first=done.first or cycle.state)
