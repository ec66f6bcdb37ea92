from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ader_stream.ader.cycle import train_cycle
from ader_stream.ader.progress import Progress
from ader_stream.ader.recipes import Recipe
from ader_stream.ader.training.losses import PlainLoss
from ader_stream.ader.training.matrix_buffer import MatrixBuffer
from ader_stream.ader.training.sampled_softmax import SampledLoss
from ader_stream.ader.training.targets import DistillationTarget, Labels, Target

ITEMS, KNOWN = 9, 7
EVERY_ITEM = 10_000
"""So many draws leave none of nine items out."""


def of_teacher(sessions: Tensor, table: Tensor, labels: Tensor) -> DistillationTarget:
    return DistillationTarget(sessions, table, labels, MatrixBuffer(sessions.dtype), weight=0.7)


def random_case() -> tuple[list[Tensor], Tensor, list[Target]]:
    generator = torch.Generator().manual_seed(3)
    sessions = [torch.randn(n, 4, generator=generator).requires_grad_() for n in (5, 3)]
    table = torch.randn(ITEMS, 4, generator=generator).requires_grad_()
    teacher = torch.randn(3, 4, generator=generator), torch.randn(KNOWN, 4, generator=generator)
    taught = of_teacher(*teacher, torch.tensor([7, 1, 3]))
    return sessions, table, [Labels(torch.tensor([1, 9, 4, 4, 2])), taught]


def gradients(loss: Tensor, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    return torch.autograd.grad(loss, inputs)


def test_a_draw_of_all_items_is_the_full_softmax() -> None:
    sessions, table, targets = random_case()
    sampled = SampledLoss(EVERY_ITEM, torch.arange(ITEMS))(sessions, table, targets)
    full = PlainLoss()(sessions, table, targets)
    torch.testing.assert_close(sampled, full)
    inputs = [table, *sessions]
    torch.testing.assert_close(gradients(sampled, inputs), gradients(full, inputs))


def test_what_the_teacher_does_not_know_is_left_out() -> None:
    sessions, table, [_, taught] = random_case()
    loss = SampledLoss(EVERY_ITEM, torch.ones(ITEMS))(sessions[1:], table, [taught])
    [by_table] = gradients(loss, [table])
    assert by_table[:KNOWN].abs().sum(1).min() > 0
    assert by_table[KNOWN:].abs().max() == 0


def test_a_session_s_own_item_is_no_mistake_when_it_is_drawn() -> None:
    clicks = torch.tensor([1_000_000, 1])
    alone = SampledLoss(1, clicks)(
        [torch.ones(1, 1)], torch.zeros(2, 1), [Labels(torch.tensor([1]))]
    )
    assert alone.item() == 0


def test_few_negatives_learn_the_frequencies_that_all_items_would_teach() -> None:
    torch.manual_seed(0)
    frequencies = torch.tensor([16, 8, 4, 2, 1, 1])
    labels = Labels(torch.arange(1, 7).repeat_interleave(frequencies))
    clicks = torch.tensor([1, 1, 1, 40, 40, 40])  # drawn quite unlike that
    loss, table = SampledLoss(2, clicks), torch.zeros(6, 1, requires_grad=True)
    adam = torch.optim.Adam([table], lr=0.02)
    kept = []
    for step in range(3000):
        adam.zero_grad()
        loss([torch.ones(32, 1)], table, [labels]).backward()  # type: ignore[no-untyped-call]
        adam.step()
        if step >= 1000:
            kept.append(table.detach().clone())
    learnt = torch.stack(kept).mean(0)[:, 0].softmax(0)
    assert learnt.tolist() == pytest.approx((frequencies / 32).tolist(), abs=0.04)


def test_cycles_train_with_few_negatives(tiny: Recipe) -> None:
    recipe = replace(tiny, negatives=5)
    sessions = [[str(n % 12), str((n + 1) % 12), str((n + 2) % 12)] for n in range(240)]
    reported: list[Progress] = []
    result = train_cycle(sessions, None, recipe, seed=0, on_progress=reported.append)
    state, first = result.state, result.report
    second = train_cycle(sessions, state, recipe, seed=0, on_progress=reported.append).report
    assert first.losses[-1] < first.losses[0]
    assert second.adaptive_weight > 0
    assert second.losses[-1] < second.losses[0]


def test_the_rows_of_what_is_scored_are_enough() -> None:
    sessions, table, targets = random_case()
    loss = SampledLoss(EVERY_ITEM, torch.arange(ITEMS))
    columns = loss.columns(targets)
    few = loss(sessions, table.index_select(0, columns), targets, columns)
    full = PlainLoss()(sessions, table, targets)
    torch.testing.assert_close(few, full)
    inputs = [table, *sessions]
    torch.testing.assert_close(gradients(few, inputs), gradients(full, inputs))
