"""How often the gate rejects a sound version, or cannot judge it.

    python -m tests.benchmarks.sound_cycles [--shops 10] [--cycles 20] [--seconds 3000]

trains cycle after cycle of simulated shops of different sizes, from some sixty visits a block on,
and lets the gate judge each version; what it rejects or leaves undecided it says at once, and
``results/gate/sound.json`` has all of them. Nothing is chosen by what comes out: limits are the
settings' defaults. A version that is rejected is no parent, as in the trainer.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch

from ader_stream.ader.artifact.parts import state_bytes
from ader_stream.ader.artifact.state import State
from ader_stream.ader.cycle import train_cycle
from ader_stream.ader.recipes import PRODUCTION, Recipe
from ader_stream.datasets.shop import SimulatedShop
from ader_stream.datasets.shop_catalogue import ShopSize
from ader_stream.types import DAY_MS, MINUTE_MS, BlockRule
from ader_stream.versions.gate.verdict import WhenUndecided, judge, measure, validation_samples
from tests.benchmarks.gate import RESULTS, RULE, visits_of

RECIPE = replace(PRODUCTION, hidden=16, exemplars=1_000)
HELD_OUT = 0.2
"""Of every other shop, so many sessions are held out: on them a sound version is no better."""

VISITS = (60, 100, 150, 200, 300)
ITEMS_A_VISIT = (0.5, 1.0, 2.0)
"""Of the catalogue."""

Row = Mapping[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shops", type=int, default=10)
    parser.add_argument("--cycles", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    end, rows = time.monotonic() + given.seconds, list[Row]()
    shops = [judged_cycles(number, given.cycles) for number in range(given.shops)]
    for row in (row for together in zip(*shops, strict=True) for row in together):
        rows.append(row)
        if row["rejected"] or row["undecided"]:
            print(json.dumps(row), flush=True)
        if time.monotonic() > end:
            break
    RESULTS.mkdir(exist_ok=True)
    result = {"summary": summary(rows), "cycles": rows}
    (RESULTS / "sound.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result["summary"]))


def summary(rows: list[Row]) -> Mapping[str, int]:
    """Count what became of the versions."""
    outcomes = Counter(
        "rejected" if row["rejected"] else "undecided" if row["undecided"] else "accepted"
        for row in rows
    )
    names = ("accepted", "undecided", "rejected")
    return {"cycles": len(rows)} | {name: outcomes[name] for name in names}


def judged_cycles(number: int, cycles: int) -> Iterator[Row]:
    """Train and judge the versions of one shop; no two shops are alike."""
    visits = VISITS[number % len(VISITS)]
    items = max(60, int(visits * ITEMS_A_VISIT[number % len(ITEMS_A_VISIT)]))
    recipe = replace(RECIPE, validation_share=HELD_OUT * (number % 2))
    size = ShopSize(cycles, sessions=visits, items=items)
    shop = SimulatedShop(BlockRule(0, DAY_MS), 30 * MINUTE_MS, size, seed=number)
    parent: State | None = None
    for cycle, (_, clicks) in enumerate(shop.blocks()):
        row, child = judged(visits_of(clicks), parent, recipe, number)
        yield {"shop": number, "cycle": cycle, "visits": visits, "items": items, **row}
        parent = parent if row["rejected"] else child


def judged(
    block: list[tuple[str, ...]], parent: State | None, recipe: Recipe, seed: int
) -> tuple[Row, State]:
    result = train_cycle(block, parent, recipe, seed, lambda _: None)
    child = result.state
    samples = validation_samples(result.held_out, block, child)
    held_out = len(result.held_out) > 0
    found = measure(samples, parent, child, lambda: None, held_out=held_out)
    rule = replace(RULE, when_undecided=WhenUndecided.ACCEPT)
    verdict = judge(rule, found, child, state_bytes(child))
    measured = verdict.measured.report()
    gains = {
        each.against: [round(each.gain_low, 1), round(each.gain_high, 1)]
        for each in found.comparisons
    }
    return {
        "rejected": verdict.rejection,
        "undecided": measured.undecided,
        "gains": gains,
        **{name: getattr(measured, name) for name in ("mislaid", "new_mislaid", "displaced")},
    }, child


if __name__ == "__main__":
    main()
