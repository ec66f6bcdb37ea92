"""From publishing to live, and the memory of a worker while versions are swapped.

``python -m tests.benchmarks.publish_to_live HOST:PORT [--workers 8] [--jitter 2s]`` publishes
versions of a model of DIGINETICA's size one after another, each as soon as every worker serves the
one before.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch

from ader_stream.ader.artifact import encode_parts
from ader_stream.ader.exemplars import Exemplars
from ader_stream.ader.recipes import PAPER
from ader_stream.ader.state import State, untrained
from ader_stream.ader.vocabulary import Vocabulary
from ader_stream.stream.models.model_log import ModelPublisher
from tests.fakes import example_manifest
from tests.integration.system import System, Worker


def main() -> None:
    """Print median and worst seconds to live, and memory in MiB."""
    parser = argparse.ArgumentParser()
    parser.add_argument("bootstrap_servers")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--versions", type=int, default=20)
    parser.add_argument("--items", type=int, default=43_136)
    parser.add_argument("--jitter", default="0ms")
    given = parser.parse_args()
    parts = encode_parts(random_state(given.items))
    overrides = {"inference": {"jitter": given.jitter, "threads": 1}}
    with (
        tempfile.TemporaryDirectory() as folder,
        System(given.bootstrap_servers, Path(folder), overrides) as system,
    ):
        workers = [system.start("inference") for _ in range(given.workers)]
        report(system, workers, parts, given.items, given.versions)


def report(
    system: System, workers: list[Worker], parts: dict[str, bytes], items: int, versions: int
) -> None:
    publisher = ModelPublisher(system.clients, system.topics, 900_000)
    publishing, seconds, before = [], [], 0.0
    for version in range(1, versions + 2):
        counts = {"items": items, "exemplars": 0}
        manifest = example_manifest(version, report=example_manifest()["report"] | counts)
        started = time.perf_counter()
        publisher.publish(manifest, parts)
        publishing.append(time.perf_counter() - started)
        for worker in workers:
            system.wait_until(
                lambda w=worker, v=version: w.metric("ader_version_served") == v, "it is live"
            )
        if version == 1:
            before = statistics.mean(map(resident, workers))
        else:  # the first one may have been there before the worker
            seconds += [worker.metric("ader_publish_to_live_seconds") for worker in workers]
    after = statistics.mean(map(resident, workers))
    size = sum(map(len, parts.values())) / 2**20
    served = sum(len(parts[kind]) for kind in ("weights", "vocabulary")) / 2**20
    print(
        f"{len(workers)} workers, {versions} versions of {size:.0f} MiB ({served:.0f} MiB served): "
        f"published in {statistics.median(publishing):.2f} s; live after median "
        f"{statistics.median(seconds):.2f} s, worst {max(seconds):.2f} s, spread "
        f"{max(seconds) - min(seconds):.2f} s; resident memory of a worker {before:.0f} MiB with "
        f"one version, {after:.0f} MiB after, {max(map(peak, workers)):.0f} MiB at its peak"
    )


def random_state(items: int) -> State:
    """A version that was drawn, not trained."""
    generator = torch.Generator().manual_seed(0)
    model = untrained(PAPER.architecture).model()
    model.initialise(generator)
    model.grow(items, generator, 0.01)
    weights = {name: weight.detach() for name, weight in model.named_parameters()}
    moments = {
        f"{name}.{moment}": torch.zeros(() if moment == "step" else weight.shape)
        for name, weight in weights.items()
        for moment in ("step", "exp_avg", "exp_avg_sq")
    }
    vocabulary = Vocabulary(tuple(str(100_000 + number) for number in range(items)))
    return State(weights, moments, Exemplars.none(), vocabulary, PAPER.architecture)


def resident(worker: Worker) -> float:
    """Resident memory now, MiB."""
    return status_of(worker, "VmRSS")


def peak(worker: Worker) -> float:
    """Highest resident memory so far, MiB."""
    return status_of(worker, "VmHWM")


def status_of(worker: Worker, name: str) -> float:
    lines = Path(f"/proc/{worker.process.pid}/status").read_text().splitlines()
    [line] = [line for line in lines if line.startswith(f"{name}:")]
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
