"""What sound and ruined versions lose where the gate looks, and on the block that comes next.

    python -m tests.benchmarks.gate [--recipe paper] [--cycles 10]

trains some cycles on a simulated shop and ruins one of them in every way that is known here; it
writes ``results/gate/RECIPE.json`` and, from there, the README's table. Minutes on one core.
``--dataset DIR --cycles 2`` does it with recorded sessions, without ruins that have to be trained.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ader_stream.ader.cycle import train_cycle
from ader_stream.ader.methods import Sessions
from ader_stream.ader.recipes import RECIPES, Recipe
from ader_stream.ader.state import State
from ader_stream.datasets.folder import read_folder_sessions
from ader_stream.datasets.shop import SimulatedShop
from ader_stream.datasets.shop_catalogue import ShopSize
from ader_stream.registry.gate import (
    GateRule,
    Measured,
    measure,
    validation_samples,
    why_rejected,
)
from ader_stream.settings.groups import TrainerSettings
from ader_stream.types import DAY_MS, MINUTE_MS, BlockRule, Click
from tests.benchmarks.readme_table import ReadmeTable

RESULTS = Path(__file__).parent / "results" / "gate"
TABLE = ReadmeTable("gate", "python -m tests.benchmarks.gate")

HEAD = (
    "| version | block | exemplars | next block | mislaid, % | displaced, % | gate |\n"
    "|---|---|---|---|---|---|---|\n"
)

SEED = 5
SESSIONS = 2_000
RUINED = 3
"""The cycle that is ruined, too; the last one, where there are fewer."""

NEGATIVES = 2_000
"""Of a step with recorded sessions: it takes half the time, and loses 0.2 points at most."""

SETTINGS = TrainerSettings()
RULE = GateRule(
    max_recall_drop=SETTINGS.max_recall_drop,
    max_forgetting=SETTINGS.max_forgetting,
    max_mislaid=SETTINGS.max_mislaid,
    max_displaced=SETTINGS.max_displaced,
    min_item_coverage=SETTINGS.min_item_coverage,
    max_bytes=2**30,
)

Row = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Cycle:
    """A version, what it was made of, and the block that it will be used on."""

    block: Sessions
    coming: Sessions
    parent: State
    child: State

    def told(self, name: str, recipe: Recipe) -> Row:
        """What it has lost, in points of Recall@20, and what the gate says."""
        seen = self._measured(self.block, recipe)
        unseen = self._measured(self.coming, replace(recipe, validation_share=0.0))
        return {
            "version": name,
            "block": _lost(seen.parent_recall20, seen.recall20),
            "exemplars": _lost(seen.parent_exemplar_recall20, seen.exemplar_recall20),
            "next_block": _lost(unseen.parent_recall20, unseen.recall20),
            "mislaid": _rounded(seen.mislaid),
            "displaced": _rounded(seen.displaced),
            "rejected": why_rejected(RULE, seen, self.child, 0),
        }

    def _measured(self, block: Sessions, recipe: Recipe) -> Measured:
        samples = validation_samples(block, self.parent, self.child, recipe, SEED)
        return measure(samples, self.parent, self.child, lambda: None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", choices=list(RECIPES), default="production")
    parser.add_argument("--cycles", type=int, default=10)
    parser.add_argument("--dataset", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    recipe = RECIPES[given.recipe]
    if given.dataset:
        name = f"{given.recipe}-{given.dataset.name.lower()}"
        blocks = read_folder_sessions(given.dataset, range(given.cycles + 1))
        rows = measured_rows(blocks, replace(recipe, negatives=NEGATIVES), misplaced)
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
    first, *later = blocks
    parent = train(first, None, recipe)
    for number, (block, coming) in enumerate(pairwise(later), start=2):
        cycle = Cycle(block, coming, parent, train(block, parent, recipe))
        yield cycle.told("sound", recipe)
        if number == min(RUINED, len(later)):
            for name, other in ruins(cycle, recipe):
                yield other.told(name, recipe)
        parent = cycle.child


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


def train(block: Sessions, parent: State | None, recipe: Recipe) -> State:
    return train_cycle(block, parent, recipe, SEED, lambda _: None)[0]


def misplaced(cycle: Cycle, _: Recipe) -> Iterator[tuple[str, Cycle]]:
    """The same cycle with versions of which some of the items have changed places."""
    for share in (0.01, 0.02, 0.05, 0.2, 1.0):
        name = f"{share:.0%} of the items have changed places"
        yield name, replace(cycle, child=scrambled(cycle.child, share))


def ruined(cycle: Cycle, recipe: Recipe) -> Iterator[tuple[str, Cycle]]:
    """The same cycle with versions that nobody should be served."""
    yield from misplaced(cycle, recipe)
    for times in (10, 100, 1_000):
        faster = replace(recipe, learning_rate=times * recipe.learning_rate)
        child = train(cycle.block, cycle.parent, faster)
        yield f"learning rate × {times:,}", replace(cycle, child=child)
    for share in (0.2, 0.5, 1.0):
        block = poisoned(cycle.block, share)
        child = train(block, cycle.parent, recipe)
        yield f"{share:.0%} of the visits at random", replace(cycle, block=block, child=child)


def scrambled(child: State, share: float) -> State:
    """A share of the items have changed places."""
    rows = torch.from_numpy(np.random.default_rng(1).permutation(len(child.vocabulary)))
    rows = rows[: int(share * len(rows))]
    table = child.weights["items.weight"].clone()
    table[rows] = table[rows.roll(1)]
    return replace(child, weights=child.weights | {"items.weight": table})


def poisoned(block: Sessions, share: float) -> Sessions:
    """A share of the visits went to items at random."""
    rng, items = np.random.default_rng(1), sorted({item for visit in block for item in visit})
    return [
        tuple(rng.choice(items, len(visit)).tolist()) if rng.random() < share else visit
        for visit in block
    ]


def _lost(parents: float | None, ours: float | None) -> float | None:
    return None if parents is None or ours is None else round(parents - ours, 1)


def _rounded(percent: float | None) -> float | None:
    return None if percent is None else round(percent, 2)


# --- the README's table


def markdown_table(result: Mapping[str, Any]) -> str:
    """One row for all sound versions, from the least to the most, and one for each ruin."""
    sound = [row for row in result["rows"] if row["version"] == "sound"]
    others = [row for row in result["rows"] if row["version"] != "sound"]
    name = f"{len(sound)} sound versions, each after the other"
    rows = [_line(name, sound), *(_line(row["version"], [row]) for row in others)]
    return HEAD + "".join(rows)


def _line(name: str, rows: Sequence[Row]) -> str:
    columns = ("block", "exemplars", "next_block", "mislaid", "displaced")
    cells = [_range([row[column] for row in rows if row[column] is not None]) for column in columns]
    reasons = {_reason(row["rejected"]) for row in rows}
    return f"| {' | '.join([name, *cells, ', '.join(sorted(reasons))])} |\n"


def _range(numbers: Sequence[float]) -> str:
    """From the least to the most.

    >>> _range([1.25, -3.0]), _range([0.5, 0.5]), _range([])
    ('−3 … 1.25', '0.5', '')
    """
    ends = sorted({min(numbers), max(numbers)}) if numbers else []
    return " … ".join(f"{number:g}".replace("-", "−") for number in ends)


def _reason(rejected: str | None) -> str:
    """Name the setting that a version fails by."""
    if rejected is None:
        return "passes"
    [setting] = [word for word in rejected.split() if word.startswith(("trainer.", "models."))]
    return f"`{setting}`"


def write_table() -> None:
    """Make the README's table anew."""
    TABLE.write(markdown_table(json.loads((RESULTS / "production.json").read_text("utf-8"))))


if __name__ == "__main__":
    main()
