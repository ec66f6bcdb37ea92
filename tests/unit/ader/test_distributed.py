from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ader_stream.ader.distributed import SINGLE_PROCESS, ProcessGroup

ONE = [sys.executable]
TWO = [*ONE, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
SMALL = {
    "hidden": 8,
    "maxlen": 6,
    "batch_size": 31,  # the last worker's share is smaller
    "max_epochs": 2,
    "exemplars": 40,
    "dropout": 0,  # each worker drops its own
    "item_dropout": 0,
}


def write_blocks(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for period in range(3):
        lines = [
            f"{session} {(first + step) % 15}\n"
            for session, first in enumerate(rng.integers(15, size=60))
            for step in range(rng.integers(2, 7))
        ]
        (folder / f"period_{period}.txt").write_text("".join(lines))


def evaluated(by: list[str], recipe: str, folder: Path) -> list[dict[str, Any]]:
    out = folder / f"{len(by)}-{recipe}.json"
    overrides = [f"--override={name}={value}" for name, value in SMALL.items()]
    command = [*by, "-m", "ader_stream.cli.main", "evaluate", "--dataset", folder, "--out", out]
    subprocess.run(
        [*command, "--recipe", recipe, *overrides],
        check=True,
        capture_output=True,
        timeout=200,
    )
    cycles: list[dict[str, Any]] = json.loads(out.read_text())["cycles"]
    return cycles


@pytest.mark.parametrize("recipe", ["paper", "production"])
def test_two_processes_come_to_what_one_comes_to(recipe: str, tmp_path: Path) -> None:
    write_blocks(tmp_path)
    alone, together = evaluated(ONE, recipe, tmp_path), evaluated(TWO, recipe, tmp_path)
    assert len(alone) == 2
    for one, two in zip(alone, together, strict=True):
        assert two["losses"] == pytest.approx(one["losses"], rel=1e-4)
        assert two["mrr@20"] == pytest.approx(one["mrr@20"], abs=0.5)
        assert two["exemplars"] == one["exemplars"]


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_shares_add_up_to_the_batch_mean(size: int) -> None:
    rows = np.arange(size, dtype=np.int64)
    values = np.arange(10.0, 10.0 + size)
    shares = [ProcessGroup(rank, 3).share(rows) for rank in range(3)]
    assert sum(part * values[mine].mean() for mine, part in shares) == pytest.approx(values.mean())


def test_one_worker_has_everything() -> None:
    rows, part = SINGLE_PROCESS.share(np.arange(5, dtype=np.int64))
    assert (rows.tolist(), part) == ([0, 1, 2, 3, 4], 1.0)
