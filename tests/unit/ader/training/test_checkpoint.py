from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from structlog.testing import capture_logs

from ader_stream.ader.artifact.parts import encode_parts
from ader_stream.ader.artifact.state import State
from ader_stream.ader.cycle import train_cycle
from ader_stream.ader.progress import Progress
from ader_stream.ader.recipes import PRODUCTION, Recipe
from ader_stream.ader.report import CycleReport
from ader_stream.ader.training.checkpoint import FILE, NOWHERE, Checkpoint, CheckpointFile, Snapshot
from ader_stream.artifact import content_digest

Block = list[tuple[str, ...]]
Blocks = Callable[[int, int], Block]
SNAPSHOT = Snapshot({"weights": torch.arange(5.0)}, {"losses": [0.1]})


class KilledError(Exception):
    """Stands for SIGKILL."""


@pytest.fixture(scope="module", params=["paper", "production", "negatives"])
def recipe(request: pytest.FixtureRequest, tiny: Recipe) -> Recipe:
    if request.param == "paper":  # the second epoch is the best, so that the third one looks back
        return replace(tiny, learning_rate=0.5, max_epochs=4, patience=2)
    negatives = 8 if request.param == "negatives" else 0
    return replace(
        PRODUCTION, hidden=16, batch_size=32, max_epochs=4, exemplars=60, negatives=negatives
    )


@pytest.fixture(scope="module")
def parent(recipe: Recipe, block: Blocks) -> State:
    return train_cycle(block(0, 12), None, recipe, 0, lambda _: None).state


def second_cycle(
    recipe: Recipe, parent: State, block: Blocks, checkpoint: Checkpoint, killed_in: int = 0
) -> tuple[str, CycleReport]:
    """Train it; in the middle of an epoch it may be killed."""

    def on_progress(progress: Progress) -> None:
        if progress.epoch == killed_in and progress.step == 2:
            raise KilledError

    torch.manual_seed(killed_in)  # another process
    result = train_cycle(block(1, 15), parent, recipe, 0, on_progress, checkpoint=checkpoint)
    state, report = result.state, result.report
    return content_digest(encode_parts(state)), report


def without_measurements(report: CycleReport) -> CycleReport:
    return replace(report, train_seconds=0.0, samples_per_second=0.0, herding_seconds=0.0)


def test_a_cycle_killed_in_any_epoch_comes_to_the_same_version(
    recipe: Recipe, parent: State, block: Blocks, tmp_path: Path
) -> None:
    digest, report = second_cycle(recipe, parent, block, NOWHERE)
    assert report.epochs > 2
    checkpoint = CheckpointFile(tmp_path, {"seed": 0})
    for epoch in range(1, report.epochs + 1):
        with pytest.raises(KilledError):
            second_cycle(recipe, parent, block, checkpoint, killed_in=epoch)
    again, resumed = second_cycle(recipe, parent, block, checkpoint)
    assert again == digest
    assert without_measurements(resumed) == without_measurements(report)


def test_a_resumed_cycle_trains_only_what_is_left(
    recipe: Recipe, parent: State, block: Blocks, tmp_path: Path
) -> None:
    checkpoint = CheckpointFile(tmp_path, {})
    with pytest.raises(KilledError):
        second_cycle(recipe, parent, block, checkpoint, killed_in=3)
    epochs: list[int] = []
    train_cycle(
        block(1, 15), parent, recipe, 0, lambda p: epochs.append(p.epoch), checkpoint=checkpoint
    )
    assert min(epoch for epoch in epochs if epoch) == 3  # 0 before the first batch


def test_a_cycle_whose_epochs_are_done_continues_with_its_exemplars(
    recipe: Recipe, parent: State, block: Blocks, tmp_path: Path
) -> None:
    checkpoint = CheckpointFile(tmp_path, {})
    digest, _ = second_cycle(recipe, parent, block, checkpoint)
    steps: list[int] = []
    state = train_cycle(
        block(1, 15), parent, recipe, 0, lambda p: steps.append(p.step), checkpoint=checkpoint
    ).state
    assert content_digest(encode_parts(state)) == digest
    assert not any(steps)


def test_a_snapshot_comes_back(tmp_path: Path) -> None:
    checkpoint = CheckpointFile(tmp_path / "new", {"blocks": (1, 2)})
    checkpoint.save(SNAPSHOT)
    found = checkpoint.load()
    assert found
    assert torch.equal(found.tensors["weights"], SNAPSHOT.tensors["weights"])
    assert found.numbers == SNAPSHOT.numbers
    assert [file.name for file in (tmp_path / "new").iterdir()] == [FILE]


def test_nothing_is_there_before_and_after(tmp_path: Path) -> None:
    checkpoint = CheckpointFile(tmp_path, {})
    checkpoint.remove()
    assert checkpoint.load() is None
    checkpoint.save(SNAPSHOT)
    checkpoint.remove()
    assert checkpoint.load() is None


def test_a_checkpoint_of_another_cycle_is_ignored(tmp_path: Path) -> None:
    CheckpointFile(tmp_path, {"parent": "abc", "seed": 0}).save(SNAPSHOT)
    with capture_logs() as logs:
        assert CheckpointFile(tmp_path, {"parent": "abd", "seed": 0}).load() is None
    assert "differs in parent" in logs[0]["reason"]


@pytest.mark.parametrize("place", [0, 12, 400, -40, -1])
def test_a_damaged_checkpoint_is_ignored(tmp_path: Path, place: int) -> None:
    checkpoint = CheckpointFile(tmp_path, {"why": "x" * 300})
    checkpoint.save(SNAPSHOT)
    content = bytearray((tmp_path / FILE).read_bytes())
    content[place] ^= 1
    (tmp_path / FILE).write_bytes(content)
    with capture_logs() as logs:
        assert checkpoint.load() is None
    assert logs[0]["reason"] == "it is damaged"


@pytest.mark.parametrize("size", [0, 10, 50])
def test_a_checkpoint_cut_short_is_ignored(tmp_path: Path, size: int) -> None:
    checkpoint = CheckpointFile(tmp_path, {})
    checkpoint.save(SNAPSHOT)
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes()[:size])
    assert checkpoint.load() is None


def test_a_folder_that_cannot_be_written_stops_no_cycle(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    checkpoint = CheckpointFile(tmp_path / "file", {})
    with capture_logs() as logs:
        checkpoint.save(SNAPSHOT)
        checkpoint.remove()
        assert checkpoint.load() is None
    assert {log["event"] for log in logs} == {
        "no checkpoint written",
        "checkpoint not removed",
        "checkpoint ignored; the block is trained from its beginning",
    }
