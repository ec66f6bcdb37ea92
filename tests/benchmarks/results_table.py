"""The tables of results in docs/benchmarks.md and README, from ``tests/benchmarks/results/*.json``.

    python -m tests.benchmarks.results_table

The paper's numbers are over the same cycles where it has a curve, else over its 16 (marked ¹). The
last column says whether the present code made a row, by the hash in its results.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from ader_stream.ader.methods import METHODS
from ader_stream.cli.evaluation.result import mean_scores
from ader_stream.paper_results import Published, published_results
from ader_stream.runtime.code_version import code_version
from tests.benchmarks.page_table import README, PageTable

RESULTS = Path(__file__).parent / "results"
TABLE = PageTable("results", "python -m tests.benchmarks.results_table")
SHORT_TABLE = PageTable(TABLE.kind, TABLE.source, README)

HEAD = (
    "| method | seeds | cycles | Recall@20 | paper | MRR@20 | paper "
    "| samples/s | minutes | code |\n"
    "|---|---|---|---|---|---|---|---|---|---|\n"
)
SHORT_HEAD = "| method | Recall@20 | paper | MRR@20 | paper |\n|---|---|---|---|---|\n"

Result = Mapping[str, Any]


def read_results(folder: Path) -> list[Result]:
    """Read every result in a folder, in the order of their names."""
    return [json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))]


def markdown_table(results: Sequence[Result]) -> str:
    """Return one row for each recipe, number of cycles and method; several seeds share one."""
    rows = map(_row, _by_row([*results, *_cut_short(results)]))
    return HEAD + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def short_table(results: Sequence[Result]) -> str:
    """Return the scores of the longest runs alone, which README shows."""
    longest = max(len(result["cycles"]) for result in results)
    rows = map(_row, _by_row([r for r in results if len(r["cycles"]) == longest]))
    return SHORT_HEAD + "".join(f"| {' | '.join([row[0], *row[3:7]])} |\n" for row in rows)


def _by_row(results: Iterable[Result]) -> list[list[Result]]:
    """Return the runs that share a row, row by row."""
    rows: dict[tuple[str, int, int], list[Result]] = {}
    for result in results:
        place = list(METHODS).index(result["method"])
        rows.setdefault((result["recipe"], -len(result["cycles"]), place), []).append(result)
    return [rows[key] for key in sorted(rows)]


def _cut_short(results: Sequence[Result]) -> Iterator[Result]:
    """The first cycles of runs that are longer than others of their recipe, to compare."""
    for result in results:
        others = [other for other in results if other["recipe"] == result["recipe"]]
        again = [o for o in others if all(o[of] == result[of] for of in ("method", "seed"))]
        counts = {len(other["cycles"]) for other in others} - {len(o["cycles"]) for o in again}
        for count in counts:
            if count < len(result["cycles"]):
                yield {**result, "cycles": result["cycles"][:count]}


def _row(of_any_seed: Iterable[Result]) -> list[str]:
    first, *_ = runs = sorted(of_any_seed, key=lambda run: run["seed"])
    paper = published_results(first["fingerprint"])
    count = len(first["cycles"])
    recipe = "" if first["recipe"] == "paper" else f" ({first['recipe']})"
    seeds = ", ".join(str(run["seed"]) for run in runs)
    scores = [
        cell
        for metric in ("recall@20", "mrr@20")
        for cell in (_ours(runs, metric), _papers(paper, first["method"], metric, count))
    ]
    return [f"`{first['method']}{recipe}`", seeds, str(count), *scores, *_costs(runs), _code(runs)]


def _code(runs: Sequence[Result]) -> str:
    """Name the code that made the row, where it is not the present one."""
    made_by = {run.get("code", "not recorded") for run in runs}
    older = sorted(made_by - {code_version()})
    return (
        ", ".join(code if code == "not recorded" else f"older: {code}" for code in older) or "this"
    )


def _ours(runs: Sequence[Result], metric: str) -> str:
    """Mean over the seeds, with the distance between the lowest and the highest."""
    means = [mean_scores(run["cycles"])[metric] for run in runs]
    spread = f" ± {(max(means) - min(means)) / 2:.2f}" if len(means) > 1 else ""
    return f"{fmean(means):.2f}{spread}"


def _papers(paper: Published | None, method: str, metric: str, cycles: int) -> str:
    if paper is None or method not in paper.means:
        return "–"
    if cycles == len(paper.curves["ader"][metric]):
        return f"{paper.means[method][metric]:.2f}"
    mean = paper.mean(method, metric, cycles)
    return f"{paper.means[method][metric]:.2f} ¹" if mean is None else f"{mean:.2f}"


def _costs(runs: Sequence[Result]) -> tuple[str, str]:
    cycles = [cycle for run in runs for cycle in run["cycles"]]
    seconds = sum(cycle[f"{part}_seconds"] for cycle in cycles for part in ("train", "herding"))
    speed = fmean(cycle["samples_per_second"] for cycle in cycles)
    return f"{speed:,.0f}", f"{seconds / 60 / len(runs):.0f}"


def write_table() -> None:
    """Rewrite both tables."""
    results = read_results(RESULTS)
    TABLE.write(markdown_table(results))
    SHORT_TABLE.write(short_table(results))


if __name__ == "__main__":
    write_table()
