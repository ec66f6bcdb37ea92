"""An exported model.onnx, run by onnxruntime, beside the serving code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import load

from ader_stream.ader.artifact.onnx import NO_ITEM, onnx_files
from ader_stream.ader.artifact.parts import encode_parts
from ader_stream.ader.artifact.state import State
from ader_stream.ader.cycle import CycleResult
from ader_stream.ader.models.ranking import top_k
from tests.unit.versions.conftest import ITEMS

MAXLEN = 5
ALIKE = [2, 5, 11, 12, 23]
WEIGHTS = "weights.safetensors"


class Exported:
    """What somebody has who has the folder and onnxruntime."""

    def __init__(self, state: State, folder: Path) -> None:
        weights = encode_parts(state)["weights"]
        (folder / WEIGHTS).write_bytes(weights)
        for name, data in onnx_files(state.model(), weights, WEIGHTS).items():
            (folder / name).write_bytes(data)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # more would only spin, for matrices this small
        self.runtime = onnxruntime.InferenceSession(folder / "model.onnx", options)
        self.serving = state.model()

    def best(self, sessions: Sequence[Sequence[int]], k: int) -> tuple[np.ndarray, np.ndarray]:
        """Rows of items and their scores, best first."""
        padded = np.full((len(sessions), MAXLEN), NO_ITEM)
        for row, session in zip(padded, sessions, strict=True):
            row[-len(session) :] = session[-MAXLEN:]
        items, scores = self.runtime.run(None, {"session": padded, "k": np.array(k)})
        return items, scores

    def served(self, sessions: Sequence[Sequence[int]], k: int) -> tuple[np.ndarray, np.ndarray]:
        indices, scores = top_k(self.serving, [[row + 1 for row in s] for s in sessions], k)
        return indices - 1, scores


@pytest.fixture(scope="module", params=["paper", "production"])
def exported(
    request: pytest.FixtureRequest,
    cycle: CycleResult,
    second_cycle: CycleResult,
    tmp_path_factory: pytest.TempPathFactory,
) -> Exported:
    """A version, some of whose items score the same for everyone."""
    state = {"paper": cycle, "production": second_cycle}[request.param].state
    weights = {name: weight.clone() for name, weight in state.weights.items()}
    weights["items.weight"][ALIKE] = weights["items.weight"][ALIKE[0]].clone()
    if "companions" in weights:
        weights["clicks"][ALIKE] = 7.0
        for name in ("companions", "together"):
            weights[name][ALIKE] = weights[name][ALIKE[0]].clone()
        weights["blend"].fill_(0.4)
    return Exported(replace(state, weights=weights), tmp_path_factory.mktemp("exported"))


def random_sessions(count: int, draw: Callable[[int], np.ndarray]) -> list[list[int]]:
    lengths = np.random.default_rng(0).integers(1, 2 * MAXLEN, size=count)
    return [draw(length).tolist() for length in lengths]


def test_random_sessions_of_every_length_get_what_is_served(exported: Exported) -> None:
    rng = np.random.default_rng(1)
    sessions = random_sessions(500, lambda length: rng.integers(len(ITEMS), size=length))
    items, scores = exported.best(sessions, 20)
    served, served_scores = exported.served(sessions, 20)
    assert np.array_equal(items, served)
    np.testing.assert_allclose(scores, served_scores, rtol=1e-4, atol=1e-5)


def test_so_do_sessions_that_return_to_few_items(exported: Exported) -> None:
    rng = np.random.default_rng(2)
    sessions = random_sessions(300, lambda length: rng.choice([3, 4, 9], size=length))
    assert np.array_equal(exported.best(sessions, 20)[0], exported.served(sessions, 20)[0])


def test_a_session_gets_the_same_alone_and_among_others(exported: Exported) -> None:
    sessions = [[3], [1, 2, 3, 4, 5, 6], [7, 7, 7]]
    together, _ = exported.best(sessions, 20)
    alone = [exported.best([session], 20)[0][0] for session in sessions]
    assert np.array_equal(together, alone)


def test_of_equal_items_the_lower_one_comes_first(exported: Exported) -> None:
    sessions = [[9], [8, 3], [0, 1, 0]]
    for k in range(1, 25):  # lists that end before, within and behind the tie
        assert np.array_equal(exported.best(sessions, k)[0], exported.served(sessions, k)[0])
    for row in exported.best(sessions, 24)[0].tolist():
        first = row.index(ALIKE[0])
        assert row[first : first + len(ALIKE)] == ALIKE


def test_what_ranking_alone_knows_is_in_the_graph(
    second_cycle: CycleResult, tmp_path: Path
) -> None:
    state, sessions = second_cycle.state, [[3, 4, 3, 9], [5, 6]]
    known = {
        "gains": torch.tensor([-8.0, -8.0, 6.0, 6.0, -8.0, 4.0, 6.0]),
        "pull": torch.tensor(3.0),
        "clicks": torch.arange(24.0),
        "blend": torch.tensor(2.0),
    }
    exported = Exported(replace(state, weights=state.weights | known), tmp_path)
    items, _ = exported.best(sessions, 20)
    assert np.array_equal(items, exported.served(sessions, 20)[0])
    for name in known:
        weights = exported.serving.state_dict() | {name: state.weights[name]}
        without, _ = top_k(replace(state, weights=weights).model(), [[4, 5, 4, 10], [6, 7]], 20)
        assert not np.array_equal(items, without - 1), name


def test_a_list_ends_where_there_are_no_more_items(exported: Exported) -> None:
    items, scores = exported.best([[1, 2]], 1_000)
    assert sorted(items[0].tolist()) == list(range(len(ITEMS)))
    assert scores.shape == (1, len(ITEMS))


def test_the_file_tells_what_it_takes_and_gives(exported: Exported) -> None:
    given = {put.name: (put.shape, put.type) for put in exported.runtime.get_inputs()}
    assert given == {"session": (["batch", MAXLEN], "tensor(int64)"), "k": ([], "tensor(int64)")}
    taken = {put.name: (put.shape, put.type) for put in exported.runtime.get_outputs()}
    assert taken == {
        "items": (["batch", "k"], "tensor(int64)"),
        "scores": (["batch", "k"], "tensor(float)"),
    }


def test_the_same_model_is_the_same_file_and_names_no_place_of_this_machine(
    cycle: CycleResult,
) -> None:
    state = cycle.state
    weights = encode_parts(state)["weights"]
    files, again = (onnx_files(state.model(), weights, WEIGHTS) for _ in range(2))
    assert files == again
    assert b".py" not in files["model.onnx"]


def test_a_table_that_ranks_alone_is_in_a_file_of_its_own(
    cycle: CycleResult, second_cycle: CycleResult
) -> None:
    paper, production = (
        onnx_files(state.model(), encode_parts(state)["weights"], WEIGHTS)
        for state in (cycle.state, second_cycle.state)
    )
    assert paper.keys() == {"model.onnx"}
    assert production.keys() == {"model.onnx", "ranked.safetensors"}
    [ranked] = load(production["ranked.safetensors"]).values()
    assert torch.equal(ranked, second_cycle.state.model().ranked_table())


def test_a_large_model_is_not_copied_into_the_graph(
    second_cycle: CycleResult, tmp_path: Path
) -> None:
    state = second_cycle.state
    model = state.model()
    model.grow(20_000, torch.Generator().manual_seed(0), item_bound=0.5)
    weights = {name: weight.detach() for name, weight in model.state_dict().items()}
    large = state.vocabulary.extended([[f"new-{n}" for n in range(20_000 - len(ITEMS))]], 1)
    exported = Exported(replace(state, weights=weights, vocabulary=large), tmp_path)
    table = weights["items.weight"].nbytes
    assert (tmp_path / "model.onnx").stat().st_size < table / 4
    sessions = [[4_999, 3, 17], [2]]
    assert np.array_equal(exported.best(sessions, 20)[0], exported.served(sessions, 20)[0])
