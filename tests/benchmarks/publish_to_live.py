"""From publishing to live, and the memory of a worker while versions are swapped.

    python -m tests.benchmarks.publish_to_live HOST:PORT [--workers 8] [--jitter 2s] [--out FILE]

publishes versions of a model of DIGINETICA's size one after another, each as soon as every worker
serves the one before. ``--items 1600000 --versions 2`` is a model of 1 GB. ``--out`` leaves
``results/speed/publish_to_live-*.json``: the table of docs/benchmarks.md (``--table`` writes it).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
import torch

from ader_stream.ader.artifact.parts import encode_parts
from ader_stream.ader.artifact.state import State, untrained
from ader_stream.ader.data.vocabulary import Vocabulary
from ader_stream.ader.exemplars.selection import Exemplars
from ader_stream.ader.recipes import PRODUCTION
from ader_stream.runtime.machine import describe_machine
from ader_stream.stream.model_registry.model_log import ModelPublisher
from ader_stream.testing.processes import start_as_user
from tests.benchmarks.page_table import PageTable
from tests.benchmarks.resident import peak_mib, reset_peak, resident_mib
from tests.fakes import example_manifest
from tests.integration.system import System, Worker

RESULTS = Path(__file__).parent / "results" / "speed"
TABLE = PageTable("benchmark", "publish_to_live")

WIDTH = 150
"""Of an item's row: 1.6 million of them are 1 GB."""

HEAD = (
    "| workers | cores | MiB served | `inference.jitter` | swaps | live: median, worst | between "
    "the workers: median, worst | memory, MiB: one version, highest in a swap, in the end |\n"
    "|---|---|---|---|---|---|---|---|\n"
)

Result = Mapping[str, Any]


def main() -> None:
    """Print what was measured, and write it down."""
    parser = argparse.ArgumentParser()
    parser.add_argument("bootstrap_servers")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--versions", type=int, default=20)
    parser.add_argument("--items", type=int, default=43_136)
    parser.add_argument("--jitter", default="0ms")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    parts = encode_parts(random_state(given.items))
    overrides = {"inference": {"jitter": given.jitter, "threads": 1}}
    with (
        tempfile.TemporaryDirectory() as folder,
        System(given.bootstrap_servers, Path(folder), overrides, launch=start_as_user) as system,
    ):
        workers = [system.start("inference") for _ in range(given.workers)]
        measured = {
            "machine": describe_machine(1),
            "workers": given.workers,
            "versions": given.versions,
            "jitter": given.jitter,
            "items": given.items,
            "served_mib": round((len(parts["weights"]) + len(parts["vocabulary"])) / 2**20),
            **swapped(system, workers, parts, given.items, given.versions),
        }
    print(json.dumps(measured, indent=1))
    if given.out:
        given.out.write_text(json.dumps(measured, indent=1) + "\n")


def swapped(
    system: System, workers: list[Worker], parts: Mapping[str, bytes], items: int, versions: int
) -> dict[str, object]:
    """Publish one version after another; tell times to live, and memory around each swap."""
    publisher = ModelPublisher(system.clients, system.topics, 900_000)
    publishing, seconds, spreads, memory, peaks = [], [], [], [], []
    for version in range(1, versions + 2):
        counts = {"items": items, "exemplars": 0}
        manifest = example_manifest(version, report=counts)
        for worker in workers:
            reset_peak(worker.process.pid)
        started = time.perf_counter()
        publisher.publish(manifest, parts)
        publishing.append(time.perf_counter() - started)
        for worker in workers:
            system.wait_until(
                lambda w=worker, v=version: w.metric("ader_version_served") == v, "it is live"
            )
        time.sleep(1)  # the version before is given up with the next round
        memory.append(mean(resident_mib(worker.process.pid) for worker in workers))
        if version > 1:  # the first one may have been there before the worker
            live = [worker.metric("ader_publish_to_live_seconds") for worker in workers]
            seconds += live
            spreads.append(max(live) - min(live))
            peaks.append(max(peak_mib(worker.process.pid) for worker in workers))
    return {
        "publish_seconds": rounded(publishing),
        "live_seconds": rounded(seconds),
        "spread_seconds": rounded(spreads),
        "memory_mib": {
            "with_one_version": round(memory[0]),
            "at_its_peak_while_swapping": round(max(peaks)),
            "after_each_swap": [round(each) for each in memory[1:]],
        },
    }


def rounded(seconds: Iterable[float]) -> dict[str, float]:
    values = list(seconds)
    return {"median": round(median(values), 2), "worst": round(max(values), 2)}


def random_state(items: int) -> State:
    """A version that was drawn, not trained; its items stood next to any others."""
    generator = torch.Generator().manual_seed(0)
    architecture = replace(PRODUCTION.architecture, hidden=WIDTH)
    model = untrained(architecture).model()
    model.initialise(generator)
    model.grow(items, generator, 0.04)
    model.companions.random_(1, items + 1, generator=generator)
    model.together.uniform_(1, 50, generator=generator)
    model.blend.fill_(0.4)
    weights = {name: weight.detach() for name, weight in model.state_dict().items()}
    steps = {f"{name}.step": torch.ones(()) for name, _ in model.named_parameters()}
    vocabulary = Vocabulary.of(str(100_000 + number) for number in range(items))
    idle = np.zeros(items, np.int32)
    return State(weights, steps, Exemplars.none(), vocabulary, architecture, idle)


# --- the table of docs/benchmarks.md


def read_results() -> list[Result]:
    """Read what was measured, the smaller model and the fewer workers first."""
    files = RESULTS.glob("publish_to_live-*.json")
    results = [json.loads(file.read_text("utf-8")) for file in files]
    return sorted(results, key=lambda r: (r["items"], r["workers"], r["jitter"]))


def markdown_table(results: Iterable[Result]) -> str:
    """One row for each result."""
    return HEAD + "".join(map(_row, results))


def _row(result: Result) -> str:
    memory = result["memory_mib"]
    memories = (
        memory["with_one_version"],
        memory["at_its_peak_while_swapping"],
        memory["after_each_swap"][-1],
    )
    cells = (
        result["workers"],
        result["machine"]["cores"],
        result["served_mib"],
        f"`{result['jitter']}`",
        result["versions"],
        _seconds(result["live_seconds"]),
        _seconds(result["spread_seconds"]) if result["workers"] > 1 else "",
        ", ".join(f"{mib:,}" for mib in memories),
    )
    return f"| {' | '.join(map(str, cells))} |\n"


def _seconds(reported: Mapping[str, float]) -> str:
    return f"{reported['median']:.2f}, {reported['worst']:.2f} s"


if __name__ == "__main__":
    if sys.argv[1:] == ["--table"]:
        TABLE.write(markdown_table(read_results()))
    else:
        main()
