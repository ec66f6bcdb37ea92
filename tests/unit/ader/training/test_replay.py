from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from ader_stream.ader.artifact.state import untrained
from ader_stream.ader.data.dataset import Samples, split_sessions
from ader_stream.ader.distributed import SINGLE_PROCESS
from ader_stream.ader.models.sasrec import SASRec
from ader_stream.ader.recipes import Recipe
from ader_stream.ader.training.losses import PlainLoss
from ader_stream.ader.training.replay import (
    DistilledReplay,
    ExemplarBatches,
    LabelReplay,
    Replay,
    TrainingBatch,
)

EXEMPLARS = split_sessions([[1, 2, 3], [4, 5]], maxlen=6)


def all_at_once(samples: Samples) -> ExemplarBatches:
    return ExemplarBatches(samples, steps=1, rng=np.random.default_rng(0))


def replayed(replay: Replay, student: SASRec) -> Tensor:
    batches = replay.draw()
    sessions = [torch.cat([student(piece) for piece in batch.inputs.inputs]) for batch in batches]
    return PlainLoss()(sessions, student.item_table(), [batch.target for batch in batches])


def test_labels_are_replayed_by_cross_entropy_over_all_items(model: SASRec) -> None:
    table = model.item_table()
    loss = replayed(LabelReplay(all_at_once(EXEMPLARS), weight=0.7), model)
    inputs = torch.tensor([[0, 1], [1, 2], [0, 4]])
    scores = model(inputs) @ table.T
    expected = 0.7 * functional.cross_entropy(scores, torch.tensor([1, 2, 4]))
    torch.testing.assert_close(loss, expected)


def test_teacher_is_followed_over_the_items_it_knows(model: SASRec, tiny: Recipe) -> None:
    teacher = untrained(tiny.architecture).model()
    teacher.initialise(torch.Generator().manual_seed(1))
    teacher.grow(5, torch.Generator().manual_seed(1), item_bound=0.5)
    replay = DistilledReplay(all_at_once(EXEMPLARS), 0.7, teacher, torch.float32)
    loss = replayed(replay, model)
    inputs = torch.tensor([[0, 1], [1, 2], [0, 4]])
    taught = (teacher(inputs) @ teacher.item_table().T).softmax(1)
    learnt = (model(inputs) @ model.item_table()[:5].T).log_softmax(1)
    torch.testing.assert_close(loss, 0.7 * -(taught * learnt).sum(1).mean())


def test_a_pass_takes_every_exemplar_once() -> None:
    batches = ExemplarBatches(EXEMPLARS, steps=3, rng=np.random.default_rng(0))
    passes = [[batches.draw()[0].item() for _ in range(3)] for _ in range(4)]
    assert [sorted(rows) for rows in passes] == [[0, 1, 2]] * 4
    assert len({tuple(rows) for rows in passes}) > 1


def test_a_pass_continues_where_it_was_left() -> None:
    samples = split_sessions([range(1, 12)], maxlen=6)  # ten: batches of 2, 2, 2, 2, 2
    batches, resumed = (ExemplarBatches(samples, 4, np.random.default_rng(n)) for n in (0, 1))
    batches.draw()
    resumed.resume(batches.rest())
    assert len(batches.rest()) == 8
    for _ in range(4):
        assert batches.draw()[0].tolist() == resumed.draw()[0].tolist()
    assert len(resumed.draw()[0]) == 2  # of a pass of its own


def test_at_least_one_exemplar_joins_a_step() -> None:
    assert ExemplarBatches(EXEMPLARS, steps=100, rng=np.random.default_rng(0)).batch_size == 1


def test_a_large_batch_comes_in_pieces_that_weigh_as_much_together() -> None:
    samples = split_sessions([range(1, 12)], maxlen=6)
    whole, cut = (
        ExemplarBatches(samples, 1, np.random.default_rng(0), SINGLE_PROCESS, n) for n in (10, 4)
    )
    rows, part = whole.draw()
    pieces = list(cut.pieces())
    assert [len(piece) for piece, _ in pieces] == [4, 4, 2]
    assert np.concatenate([piece for piece, _ in pieces]).tolist() == rows.tolist()
    assert [weight for _, weight in pieces] == pytest.approx([0.4 * part, 0.4 * part, 0.2 * part])


@pytest.mark.parametrize("kind", ["labels", "teacher"])
def test_pieces_are_the_same_loss_as_the_whole(kind: str, model: SASRec, tiny: Recipe) -> None:
    def loss(at_once: int) -> float:
        batches = ExemplarBatches(EXEMPLARS, 1, np.random.default_rng(0), SINGLE_PROCESS, at_once)
        teacher = untrained(tiny.architecture).model()
        teacher.initialise(torch.Generator().manual_seed(1))
        teacher.grow(5, torch.Generator().manual_seed(1), item_bound=0.5)
        replay: Replay = (
            LabelReplay(batches, 0.7)
            if kind == "labels"
            else DistilledReplay(batches, 0.7, teacher, torch.float32)
        )
        batches = replay.draw()
        assert len(batches) == math.ceil(3 / at_once)
        return sum(float(replayed(_Single(batch), model).detach()) for batch in batches)

    assert loss(1) == pytest.approx(loss(2)) == pytest.approx(loss(3))


class _Single(Replay):
    """One batch alone."""

    def __init__(self, batch: TrainingBatch) -> None:
        self._lesson = batch

    def draw(self) -> list[TrainingBatch]:
        return [self._lesson]
