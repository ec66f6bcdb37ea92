"""What sound and ruined versions lose where the gate looks, and on the block that comes next.

    python -m tests.benchmarks.gate [--recipe paper] [--cycles 10]

trains some cycles on a simulated shop and ruins one of them in every way that is known here; it
writes ``results/gate/RECIPE.json`` and, from there, the table of docs/benchmarks.md. Minutes on one
core. ``--dataset DIR --cycles 2`` does it with recorded sessions, without ruins that have to be
trained; ``--one-in 8``, with every eighth of them, and all ruins.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ader_stream.ader.artifact.state import State
from ader_stream.ader.cycle import CycleResult, train_cycle
from ader_stream.ader.data.dataset import Samples, Sessions
from ader_stream.ader.data.vocabulary import Vocabulary
from ader_stream.ader.evaluate import score_sessions
from ader_stream.ader.recipes import RECIPES, Recipe
from ader_stream.datasets.folder import read_folder_sessions
from ader_stream.datasets.shop import SimulatedShop
from ader_stream.datasets.shop_catalogue import ShopSize
from ader_stream.settings.groups import TrainerSettings
from ader_stream.types import DAY_MS, MINUTE_MS, BlockRule, Click
from ader_stream.versions.gate.bounds import Share
from ader_stream.versions.gate.comparison import ComparisonKind
from ader_stream.versions.gate.measured import Measured
from ader_stream.versions.gate.verdict import GateRule, judge, measure, validation_samples
from tests.benchmarks.page_table import PageTable

RESULTS = Path(__file__).parent / "results" / "gate"
TABLE = PageTable("gate", "python -m tests.benchmarks.gate")

HEAD = (
    "| version | block | exemplars | next block | cost | flips, % | drifted, % | right order, % "
    "| gate |\n"
    "|---|---|---|---|---|---|---|---|---|\n"
)

SEED = 5
SESSIONS = 2_000
RUINED = 3
"""The cycle that is ruined, too; the last one, where there are fewer."""

TINY = 5
"""Visits of a block that says next to nothing."""

BOTS_CLICKS = 20_000
"""More than all visitors of a block have together."""

NEGATIVES = 2_000
"""Of a step with recorded sessions: it takes half the time, and loses 0.2 points at most."""

SETTINGS = TrainerSettings()
RULE = GateRule(
    max_recall_drop=SETTINGS.max_recall_drop,
    max_forgetting=SETTINGS.max_forgetting,
    max_negative_flips=SETTINGS.max_negative_flips,
    max_embedding_drift=SETTINGS.max_embedding_drift,
    min_item_coverage=SETTINGS.min_item_coverage,
    max_bytes=2**30,
)

SOUND, FIRST = "sound", "first version: "

Row = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Cycle:
    """A version, what it was made of, and the block that it will be used on.

    Parameters
    ----------
    sound
        The version that would have been made of the block, had nothing been ruined.
    trained
        The update cycle on the block, whose version may have been ruined afterwards.
    """

    block: Sessions
    coming: Sessions
    parent: State | None
    child: State
    sound: State
    trained: CycleResult

    def reported(self, name: str, recipe: Recipe) -> Row:
        """What it has lost, in points of Recall@20, and what the gate says."""
        seen = self._measured(self.block, held_out_by(self.trained, self.child))
        unseen = self._measured(self.coming, NONE).report()
        on_block, of_block = seen.comparison(ComparisonKind.BLOCK), seen.report()
        verdict = judge(RULE, seen, self.child, 0)
        return {
            "version": name,
            "block": on_block and _lost(on_block.other_recall20, on_block.recall20),
            "exemplars": _lost(of_block.parent_exemplar_recall20, of_block.exemplar_recall20),
            "next_block": _lost(unseen.parent_recall20, unseen.recall20),
            "cost": _lost(recall20(self.sound, self.coming), recall20(self.child, self.coming)),
            "mislaid": _rounded(seen.negative_flips or seen.new_negative_flips),
            "displaced": _rounded(seen.embedding_drift),
            "told_apart": _rounded(seen.pairwise_accuracy.version),
            "by_co_clicks": _rounded(seen.pairwise_accuracy.co_clicks),
            "rejected": verdict.rejection,
            "undecided": verdict.measured.undecided,
        }

    def _measured(self, block: Sessions, held_out: Samples) -> Measured:
        samples = validation_samples(held_out, block, self.child)
        is_held_out = len(held_out) > 0
        return measure(samples, self.parent, self.child, lambda: None, held_out=is_held_out)


NONE = Samples(np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0, np.int64))


def held_out_by(trained: CycleResult, child: State) -> Samples:
    """Return what a cycle held out, by the rows of a version with the same items."""
    held_out, items = trained.held_out, trained.state.vocabulary.items
    if not len(held_out):
        return held_out
    rows = np.array([0, *(child.vocabulary.index(item) for item in items)], np.int32)
    return Samples(rows[held_out.items], held_out.starts, held_out.targets)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", choices=list(RECIPES), default="production")
    parser.add_argument("--cycles", type=int, default=10)
    parser.add_argument("--dataset", type=Path)
    parser.add_argument("--one-in", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(1)
    recipe = RECIPES[given.recipe]
    if given.dataset:
        name = f"{given.recipe}-{given.dataset.name.lower()}"
        whole = read_folder_sessions(given.dataset, range(given.cycles + 1))
        blocks: list[Sessions] = [sessions[:: given.one_in] for sessions in whole]
        name += f"-{given.one_in}" if given.one_in > 1 else ""
        ruins = ruined if given.one_in > 1 else misplaced
        rows = measured_rows(blocks, replace(recipe, negatives=NEGATIVES), ruins)
    else:
        name, blocks = given.recipe, simulated(given.cycles)
        rows = measured_rows(blocks, replace(recipe, hidden=32, exemplars=3_000), ruined)
    measured = list(shown(rows))
    RESULTS.mkdir(exist_ok=True)
    result = {"recipe": given.recipe, "cycles": given.cycles, "seed": SEED, "rows": measured}
    (RESULTS / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    write_table()


def shown(rows: Iterable[Row]) -> Iterator[Row]:
    """Print each row when it is there."""
    for row in rows:
        print(json.dumps(row), flush=True)
        yield row


def measured_rows(
    blocks: Sequence[Sessions],
    recipe: Recipe,
    ruins: Callable[[Cycle, Recipe], Iterator[tuple[str, Cycle]]],
) -> Iterator[Row]:
    """Train one version after another; measure each, and one in all its ruins."""
    parent: State | None = None
    for number, (block, coming) in enumerate(pairwise(blocks), start=1):
        cycle = sound_cycle(block, coming, parent, recipe)
        yield cycle.reported(SOUND if parent else f"{FIRST}sound", recipe)
        if number in (1, min(RUINED, len(blocks) - 1)):
            for name, other in ruins(cycle, recipe):
                yield other.reported(name if parent else FIRST + name, recipe)
        parent = cycle.child


def sound_cycle(block: Sessions, coming: Sessions, parent: State | None, recipe: Recipe) -> Cycle:
    trained = train(block, parent, recipe)
    return Cycle(block, coming, parent, trained.state, trained.state, trained)


def recall20(state: State, sessions: Sessions) -> float | None:
    """Of a version on all that it knows of a block, percent."""
    counts = score_sessions(state.model(), state.vocabulary, sessions)
    return counts.percentages().get("recall@20")


def simulated(cycles: int) -> list[Sessions]:
    """Visits to a shop that changes, block by block: one more than cycles."""
    shop = SimulatedShop(
        BlockRule(0, DAY_MS), 30 * MINUTE_MS, ShopSize(cycles + 1, sessions=SESSIONS), SEED
    )
    return [visits_of(clicks) for _, clicks in shop.blocks()]


def visits_of(clicks: Iterable[Click]) -> list[tuple[str, ...]]:
    """Put the clicks of each visit together."""
    visits: dict[str, list[str]] = {}
    for click in clicks:
        visits.setdefault(click.key, []).append(click.item)
    return [tuple(visit) for visit in visits.values()]


def train(block: Sessions, parent: State | None, recipe: Recipe) -> CycleResult:
    return train_cycle(block, parent, recipe, SEED, lambda _: None)


def misplaced(cycle: Cycle, _: Recipe) -> Iterator[tuple[str, Cycle]]:
    """The same cycle with versions of which some of the items have changed places."""
    for share in (0.01, 0.02, 0.05, 0.1, 0.3, 1.0):
        name = f"{share:.0%} of the items have changed places"
        yield name, replace(cycle, child=scrambled(cycle.child, share))


def ruined(cycle: Cycle, recipe: Recipe) -> Iterator[tuple[str, Cycle]]:
    """The same cycle with versions that nobody should be served, and what may look like one."""
    yield from misplaced(cycle, recipe)
    yield "items have each other's names", replace(cycle, child=renamed(cycle.child))
    yield "two items have each other's names", replace(cycle, child=two_renamed(cycle.child))
    yield "a weight is not a number", replace(cycle, child=broken(cycle.child))
    yield "all rows are equal", replace(cycle, child=with_table(cycle.child, torch.ones_like))
    yield "the encoder is zero", replace(cycle, child=without_encoder(cycle.child))
    for temperature in (1e-3, 1e3):
        child = cycle.child
        architecture = replace(child.architecture, temperature=temperature)
        child = replace(child, architecture=architecture)
        yield f"the temperature is {temperature:g}", replace(cycle, child=child)
    child = train(shifted(cycle.block), cycle.parent, recipe).state
    yield "trained on the next session's targets", replace(cycle, child=child)
    for times in (10, 100, 1_000):
        faster = replace(recipe, learning_rate=times * recipe.learning_rate)
        child = train(cycle.block, cycle.parent, faster).state
        yield f"learning rate × {times:,}", replace(cycle, child=child)
    for share in (0.2, 0.5, 1.0):
        block = poisoned(cycle.block, share)
        name = f"{share:.0%} of the visits at random"
        yield name, of_another_block(cycle, block, recipe)
    block = [*cycle.block, bots_visit(cycle.block)]
    yield "one bot among the visitors", of_another_block(cycle, block, recipe)
    yield f"a block of {TINY} visits", tiny(cycle, recipe)
    if cycle.parent:
        yield from moved(cycle, recipe)


def of_another_block(cycle: Cycle, block: Sessions, recipe: Recipe) -> Cycle:
    """The same cycle with a version that was trained on another block."""
    trained = train(block, cycle.parent, recipe)
    return replace(cycle, block=block, child=trained.state, trained=trained)


def tiny(cycle: Cycle, recipe: Recipe) -> Cycle:
    """The same cycle of the first visits that have a target."""
    visits = [visit for visit in cycle.block if len(visit) > 1]
    return sound_cycle(visits[:TINY], cycle.coming, cycle.parent, recipe)


def moved(cycle: Cycle, recipe: Recipe) -> Iterator[tuple[str, Cycle]]:
    """A cycle in which every item is new, sound and with its new rows in each other's places."""
    block, coming = (
        [tuple(f"new {item}" for item in visit) for visit in visits]
        for visits in (cycle.block, cycle.coming)
    )
    all_new = sound_cycle(block, coming, cycle.parent, recipe)
    yield "all items are new", all_new
    known = len(cycle.parent.vocabulary) if cycle.parent else 0
    for share in (0.5, 1.0):
        child = scrambled(all_new.child, share, first=known)
        yield (
            f"all items are new, {share:.0%} of them have changed places",
            replace(all_new, child=child),
        )


def bots_visit(block: Sessions) -> tuple[str, ...]:
    """One visit that goes round some items, again and again."""
    items = sorted({item for visit in block for item in visit})[:50]
    return tuple(items[click % len(items)] for click in range(BOTS_CLICKS))


def renamed(child: State) -> State:
    """Each row stands for the item of the one before."""
    first, *others = child.vocabulary.items
    return replace(child, vocabulary=Vocabulary.of([*others, first]))


def two_renamed(child: State) -> State:
    """The rows of two items stand for each other's."""
    first, second, *others = child.vocabulary.items
    return replace(child, vocabulary=Vocabulary.of([second, first, *others]))


def with_table(child: State, change: Callable[[torch.Tensor], torch.Tensor]) -> State:
    """Another item table."""
    table = change(child.weights["items.weight"].clone())
    return replace(child, weights=child.weights | {"items.weight": table})


def broken(child: State) -> State:
    """One weight is not a number."""

    def change(table: torch.Tensor) -> torch.Tensor:
        table[0, 0] = torch.nan
        return table

    return with_table(child, change)


def without_encoder(child: State) -> State:
    """All parameters but the item table are zero."""
    parameters = {name for name, _ in child.model().named_parameters()} - {"items.weight"}
    zeros = {name: torch.zeros_like(child.weights[name]) for name in parameters}
    return replace(child, weights=child.weights | zeros)


def scrambled(child: State, share: float, first: int = 0) -> State:
    """A share of the items from a row on have changed places."""
    later = len(child.vocabulary) - first
    rows = first + torch.from_numpy(np.random.default_rng(1).permutation(later))
    rows = rows[: int(share * len(rows))]

    def change(table: torch.Tensor) -> torch.Tensor:
        table[rows] = table[rows.roll(1)]
        return table

    return with_table(child, change)


def shifted(block: Sessions) -> Sessions:
    """Each visit ends with the last click of the one after it."""
    ends = [visit[-1] for visit in block]
    return [(*visit[:-1], end) for visit, end in zip(block, [*ends[1:], ends[0]], strict=True)]


def poisoned(block: Sessions, share: float) -> Sessions:
    """A share of the visits went to items at random."""
    rng, items = np.random.default_rng(1), sorted({item for visit in block for item in visit})
    return [
        tuple(rng.choice(items, len(visit)).tolist()) if rng.random() < share else visit
        for visit in block
    ]


def _lost(parents: float | None, ours: float | None) -> float | None:
    return None if parents is None or ours is None else round(parents - ours, 1)


def _rounded(share: Share | None) -> float | None:
    return None if share is None else round(share.percent, 2)


# --- the table of docs/benchmarks.md


def markdown_table(result: Mapping[str, Any]) -> str:
    """One row for all sound versions, from the least to the most, and one for each ruin."""
    sound = [row for row in result["rows"] if row["version"] == SOUND]
    others = [row for row in result["rows"] if row["version"] != SOUND]
    name = f"{len(sound)} sound versions, each after the other"
    rows = [_line(name, sound), *(_line(row["version"], [row]) for row in others)]
    return HEAD + "".join(rows)


def _line(name: str, rows: Sequence[Row]) -> str:
    columns = ("block", "exemplars", "next_block", "cost", "mislaid", "displaced", "told_apart")
    cells = [_range([row[column] for row in rows if row[column] is not None]) for column in columns]
    reasons = {_reason(row["rejected"], row["undecided"]) for row in rows}
    return f"| {' | '.join([name, *cells, ', '.join(sorted(reasons))])} |\n"


def _range(numbers: Sequence[float]) -> str:
    """From the least to the most.

    >>> _range([1.25, -3.0]), _range([0.5, 0.5]), _range([])
    ('−3 … 1.25', '0.5', '')
    """
    ends = sorted({min(numbers), max(numbers)}) if numbers else []
    return " … ".join(f"{number:g}".replace("-", "−") for number in ends)


def _reason(rejected: str | None, undecided: str | None) -> str:
    """Name the setting that a version fails by, or what it fails by where there is none.

    >>> _reason("weights are not finite: items.weight; expected numbers", None)
    'weights are not finite'
    """
    if undecided:
        return "undecided"
    if rejected is None:
        return "passes"
    settings = [word for word in rejected.split() if word.startswith(("trainer.", "models."))]
    return f"`{settings[0]}`" if settings else re.split("[:;]", rejected)[0]


def write_table() -> None:
    """Rewrite the table of docs/benchmarks.md."""
    TABLE.write(markdown_table(json.loads((RESULTS / "production.json").read_text("utf-8"))))


if __name__ == "__main__":
    main()
