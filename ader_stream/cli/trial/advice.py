"""Suggest settings, and say whether the data are fit."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from statistics import fmean
from typing import NamedTuple

from ader_stream.cli.trial.sample import Sessions
from ader_stream.cli.trial.survey import Survey
from ader_stream.cli.trial.trained import Trained
from ader_stream.types import DAY_MS, HOUR_MS, MINUTE_MS

JUDGED = 1_000
"""Sessions with two clicks or more that make a block's recall certain to about 1.5 points."""

LEAST_BLOCKS = 4
"""A trial starts from one block and predicts others."""

PAPER = "ADER (paper)"
FINETUNING = "finetuning (paper)"
SAMPLED = "ADER (production), sample"
"""Names of the compared methods."""

CLEAR = 1.0
"""Points of recall that differ by more than the noise of a trial."""


class BlockFacts(NamedTuple):
    """What the sessions of a block are like, in shares.

    Parameters
    ----------
    sessions, clicks
        Numbers.
    trained
        Share of sessions with two clicks or more: only these are learned from.
    repeats
        Share of clicks on an item that the session has clicked before.
    new_items
        Share of the clicked items that no block before has.
    """

    sessions: int
    clicks: int
    trained: float
    repeats: float
    new_items: float


def block_facts(blocks: list[Sessions]) -> list[BlockFacts]:
    """Return the facts of every block; all items of the first one are new."""
    known: set[str] = set()
    facts = []
    for block in blocks:
        items = set(chain.from_iterable(block))
        clicks = sum(map(len, block))
        distinct = sum(len(set(session)) for session in block)
        facts.append(
            BlockFacts(
                len(block),
                clicks,
                sum(len(session) > 1 for session in block) / max(len(block), 1),
                1 - distinct / max(clicks, 1),
                len(items - known) / max(len(items), 1),
            )
        )
        known |= items
    return facts


def block_length(found: Survey) -> int:
    """Return the shortest length with enough sessions a block, and enough blocks.

    Without one, the longest of which there are enough blocks.
    """
    possible = [n for n, blocks in found.whole_blocks.items() if blocks >= LEAST_BLOCKS]
    fitting = [n for n in possible if found.sessions.get(n, 0) >= JUDGED]
    return next(iter(fitting), possible[-1] if possible else next(iter(found.whole_blocks)))


def least_sessions(sessions: float) -> int:
    """Return `blocks.min_sessions`: a block with less than a tenth of the usual is joined.

    >>> least_sessions(4_321), least_sessions(3)
    (432, 1)
    """
    return max(1, int(sessions / 10))


def duration(ms: int) -> str:
    """Return a duration as in settings.

    >>> duration(1_800_000), duration(604_800_000)
    ('30m', '7d')
    """
    for unit, name in ((DAY_MS, "d"), (HOUR_MS, "h"), (MINUTE_MS, "m")):
        if ms % unit == 0:
            return f"{ms // unit}{name}"
    return f"{ms}ms"


def mean_recall(one: Trained, cycles: int | None = None) -> float:
    """Return the mean over the first cycles, by default all; 0 without one."""
    return fmean(one.recall[:cycles]) if one.recall else 0.0


def recommended_recipe(compared: list[Trained]) -> str:
    """Return the recipe with which ADER is better on the same sessions; production when alike."""
    of = {one.name: one for one in compared if one.recall}
    paper, production = of.get(PAPER), of.get(SAMPLED)
    if not (paper and production):
        return "production"
    cycles = min(len(paper.recall), len(production.recall))
    gain = mean_recall(paper, cycles) - mean_recall(production, cycles)
    return "paper" if gain > CLEAR else "production"


def findings(
    facts: list[BlockFacts],
    whole: list[Trained],
    compared: list[Trained],
    baselines: dict[str, float],
) -> Iterator[str]:
    """Yield what speaks for or against continual training on these data."""
    last = facts[-1]
    if last.trained < 0.3:
        yield (
            f"Only {last.trained:.0%} of the sessions have two clicks or more: is the session "
            "column right, and the gap long enough?"
        )
    if last.repeats > 0.4:
        yield (
            f"{last.repeats:.0%} of the clicks repeat an item of their session: are reloads, or "
            "several events for one view, among them?"
        )
    if last.sessions * last.trained < JUDGED:
        yield (
            f"The last block has {last.sessions * last.trained:,.0f} sessions of two clicks or "
            f"more: with less than {JUDGED:,} recall is uncertain, and the gate waits."
        )
    yield (
        f"{last.new_items:.0%} of the items in the last block are new: a model that is not trained "
        "again could not recommend them."
    )
    yield from _against_baselines(whole, baselines)
    yield from _against_finetuning(compared)


def _against_baselines(whole: list[Trained], baselines: dict[str, float]) -> Iterator[str]:
    name, baseline = max(baselines.items(), key=lambda pair: pair[1])
    for one in whole:
        if not one.recall:
            yield f"{one.name} did no cycle in time: give more --minutes."
            continue
        recall = mean_recall(one)
        is_better = "is" if recall >= baseline + CLEAR else "is not clearly"
        yield f"{one.name} {is_better} better than {name}: {recall:.1f} against {baseline:.1f}."


def _against_finetuning(compared: list[Trained]) -> Iterator[str]:
    of = {one.name: one for one in compared}
    cycles = min(len(of[PAPER].recall), len(of[FINETUNING].recall))
    if cycles < 2:
        yield "There was no time to compare ADER with finetuning: give more --minutes."
        return
    gain = fmean(of[PAPER].recall[1:cycles]) - fmean(of[FINETUNING].recall[1:cycles])
    yield (
        f"ADER's recall after the second cycle differs from finetuning's by {gain:+.1f} points; it "
        "grows with the number of cycles, as more is forgotten."
    )
