"""Detections, false alarms and delay of drift rules, on quiet blocks and on injected faults.

    python -m tests.benchmarks.drift [--shops 30] [--dataset DIR ...]

judges each block of simulated shops, and of recorded clicks in the ADER folder format, as they are;
then the last blocks with each fault of `drift_faults`, from one block on. It writes
``results/drift/DATA.json`` and, from all of these, the table of docs/benchmarks.md. ADWIN takes
part if ``river`` is installed. About ten seconds of CPU time a shop, a minute a million clicks.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ader_stream.datasets import Dataset, ShopSize, SimulatedShop
from ader_stream.datasets.block_sessions import block_sessions
from ader_stream.datasets.folder import FolderDataset
from ader_stream.drift.block_statistics import BlockStatistics
from ader_stream.types import DAY_MS, MINUTE_MS, BlockRule, Session
from tests.benchmarks.drift_faults import FAULTS
from tests.benchmarks.drift_rules import RULES, Rule
from tests.benchmarks.page_table import PageTable

RESULTS = Path(__file__).parent / "results" / "drift"
TABLE = PageTable("drift", "python -m tests.benchmarks.drift")

WEEKS = BlockRule(0, 7 * DAY_MS)
GAP = 30 * MINUTE_MS
SHOP = ShopSize(blocks=12)
LASTS = 3
"""Blocks that a fault lasts: its alarm may come late."""

WARM_UP = 4
"""First blocks, which are no part of the rates: thresholds need three comparisons."""

Blocks = Sequence[Sequence[Session]]
Result = dict[str, Any]


def main() -> None:
    """Measure, write the results, and put the table into the documentation."""
    options = argparse.ArgumentParser()
    options.add_argument("--shops", type=int, default=30)
    options.add_argument("--dataset", type=Path, action="append", default=[])
    given = options.parse_args()
    for folder in given.dataset:
        write(folder.name, list(measure(FolderDataset(folder, WEEKS, GAP))))
    if given.shops:
        shops = [SimulatedShop(WEEKS, GAP, SHOP, seed) for seed in range(given.shops)]
        write("simulated", [row for shop in shops for row in measure(shop)])
        write("counting", [counting_speed()])
    TABLE.write(table(read_results()))
    print(table(read_results()))


def write(name: str, rows: Sequence[Result]) -> None:
    """Replace the results of one kind of data."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    text = json.dumps(rows, indent=1, sort_keys=True) + "\n"
    (RESULTS / f"{name}.json").write_text(text, encoding="utf-8")


def read_results() -> dict[str, list[Result]]:
    """Return the results by the name of their file."""
    return {
        path.stem: json.loads(path.read_text("utf-8")) for path in sorted(RESULTS.glob("*.json"))
    }


def measure(dataset: Dataset) -> Iterator[Result]:
    """Yield what each rule says of one data set, quiet and with each fault."""
    blocks = [list(block_sessions(clicks, GAP)) for _, clicks in dataset.blocks()]
    first = max(WARM_UP, len(blocks) - LASTS - 1)
    broken = {
        name: [fault(list(block), np.random.default_rng(0)) for block in blocks[first:][:LASTS]]
        for name, fault in FAULTS.items()
    }
    for name, rule in RULES.items():
        if "river" in name and find_spec("river") is None:
            continue
        started = time.process_time()
        result = judged(rule(), blocks, first, broken)
        seconds = round(time.process_time() - started, 2)
        print(dataset.name, name, result, flush=True)
        yield {"data": dataset.name, "rule": name, "cpu_seconds": seconds, **result}


def judged(rule: Rule, blocks: Blocks, first: int, broken: dict[str, Blocks]) -> Result:
    """Return the alarms at quiet blocks, and the delay in blocks of each fault's first alarm."""
    alarms, delays = {}, {}
    for number, block in enumerate(blocks):
        if number == first:
            delays = {name: delay(copy.deepcopy(rule), faulty) for name, faulty in broken.items()}
        found = rule.judge(block)
        if found and number >= WARM_UP:
            alarms[number] = found
    return {"quiet": len(blocks) - WARM_UP, "alarms": alarms, "delays": delays}


def delay(rule: Rule, blocks: Blocks) -> int | None:
    """Return the number of blocks before the first alarm; None if there is none."""
    return next((n for n, block in enumerate(blocks) if rule.judge(block)), None)


def counting_speed(clicks: int = 300_000) -> Result:
    """Count the same clicks as block statistics, and their items alone with `Counter`."""
    rng = np.random.default_rng(0)
    items = [f"item-{rank}" for rank in rng.zipf(1.3, clicks) % 50_000]
    sessions = [
        Session(f"visit-{n}", tuple(items[n : n + 5]), tuple(range(n, n + 5_000, 1_000)))
        for n in range(0, clicks, 5)
    ]
    ours = _best(lambda: BlockStatistics().add_sessions(sessions))
    alone = _best(lambda: Counter(item for session in sessions for item in session.items))
    return {
        "clicks": clicks,
        "clicks_per_cpu_second": round(clicks / ours),
        "times_counter": round(ours / alone, 1),
    }


def _best(count: Any) -> float:
    def once() -> float:
        started = time.process_time()
        count()
        return time.process_time() - started

    return min(once() for _ in range(5))


def table(results: dict[str, list[Result]]) -> str:
    """Return the table of results, simulated shops together, and the speed of counting."""
    [counting] = results["counting"]
    groups: dict[tuple[str, str], list[Result]] = {}
    for row in (row for name, rows in results.items() if name != "counting" for row in rows):
        groups.setdefault((row["data"], row["rule"]), []).append(row)
    head = " | ".join(("data", "rule", "alarms without a fault", *FAULTS, "delay", "CPU s"))
    lines = [f"| {head} |", "|" + "---|" * (len(FAULTS) + 5)]
    lines += [_line(*key, rows, list(FAULTS)) for key, rows in groups.items()]
    speed = (
        f"Counting took {counting['times_counter']} times the CPU time of `collections.Counter` "
        "over the items of the same clicks."
    )
    return "\n".join([*lines, "", speed]) + "\n"


def _line(data: str, rule: str, rows: Sequence[Result], faults: Sequence[str]) -> str:
    alarms, quiet = sum(len(row["alarms"]) for row in rows), sum(row["quiet"] for row in rows)
    delays = [[row["delays"][fault] for row in rows] for fault in faults]
    found = [f"{sum(d is not None for d in of)} of {len(of)}" for of in delays]
    late = [d for of in delays for d in of if d is not None]
    mean = f"{sum(late) / len(late):.1f}" if late else ""
    seconds = sum(row["cpu_seconds"] for row in rows)
    cells = (data, rule, f"{alarms} of {quiet} blocks", *found, mean, f"{seconds:.0f}")
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
