from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ader_stream.ader.artifact.parts import encode_parts
from ader_stream.ader.artifact.saved_states import keep_only, load_state, save_state
from ader_stream.ader.artifact.state import State
from ader_stream.ader.cycle import train_cycle
from ader_stream.ader.recipes import Recipe
from ader_stream.errors import ArtifactError


@pytest.fixture(scope="module")
def state(tiny: Recipe, block: Callable[[int, int], list[tuple[str, ...]]]) -> State:
    return train_cycle(block(0, 12), None, replace(tiny, max_epochs=1), 0, lambda _: None).state


def test_a_saved_state_comes_back_byte_for_byte(state: State, tmp_path: Path) -> None:
    save_state(tmp_path / "run.state", 3, state)
    assert encode_parts(load_state(tmp_path / "run.state", 3)) == encode_parts(state)


def test_saving_again_replaces_what_was_left_half_written(state: State, tmp_path: Path) -> None:
    (tmp_path / "cycle-1.part").mkdir()
    (tmp_path / "cycle-1.part" / "rubbish").touch()
    (tmp_path / "cycle-1").mkdir()
    save_state(tmp_path, 1, state)
    assert encode_parts(load_state(tmp_path, 1)) == encode_parts(state)
    assert [place.name for place in tmp_path.iterdir()] == ["cycle-1"]


def test_only_the_state_that_is_needed_is_kept(state: State, tmp_path: Path) -> None:
    for cycle in (1, 2):
        save_state(tmp_path, cycle, state)
    (tmp_path / "cycle-3.part").mkdir()
    keep_only(tmp_path, 2)
    assert [place.name for place in tmp_path.iterdir()] == ["cycle-2"]


def test_a_state_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"cycle-4: no state to continue.*start from the first"):
        load_state(tmp_path, 4)


def test_a_damaged_state_is_refused(state: State, tmp_path: Path) -> None:
    save_state(tmp_path, 1, state)
    blob = (tmp_path / "cycle-1" / "weights").read_bytes()
    (tmp_path / "cycle-1" / "weights").write_bytes(blob[:-1] + b"\xff")
    with pytest.raises(ArtifactError, match="is damaged"):
        load_state(tmp_path, 1)
