from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from ader_stream.ader.losses import (
    adaptive_weight,
    cross_entropy,
    distillation_loss,
    item_scores,
)

TEACHER = torch.tensor([[0.0, math.log(3.0)], [1.0, 1.0]])


def test_cross_entropy_of_equal_scores_is_the_log_of_the_choices() -> None:
    assert cross_entropy(torch.zeros(2, 8), torch.tensor([1, 8])).item() == pytest.approx(
        math.log(8)
    )


def test_cross_entropy_and_its_gradient_agree_with_torch() -> None:
    torch.manual_seed(0)
    targets = torch.tensor([1, 5, 5])
    ours = torch.randn(3, 5, requires_grad=True)
    theirs = ours.detach().clone().requires_grad_()
    loss, expected = cross_entropy(ours, targets), functional.cross_entropy(theirs, targets - 1)
    torch.testing.assert_close(loss, expected)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_distillation_by_hand() -> None:
    # Teacher ¼, ¾ and ½, ½; the student says ½, ½ both times: the loss is log 2.
    student = torch.zeros(2, 2)
    assert distillation_loss(student, TEACHER).item() == pytest.approx(math.log(2))


def test_distillation_is_smallest_at_the_teacher() -> None:
    entropy = distillation_loss(TEACHER, TEACHER)
    assert entropy < distillation_loss(TEACHER + torch.tensor([[0.1, 0.0]]), TEACHER)
    assert entropy < distillation_loss(TEACHER - torch.tensor([[0.1, 0.0]]), TEACHER)


def test_distillation_leaves_out_items_that_the_teacher_does_not_know() -> None:
    student = torch.tensor([[0.5, 0.2, 9.0], [0.1, 0.4, -9.0]], requires_grad=True)
    loss = distillation_loss(student, TEACHER)
    torch.testing.assert_close(loss, distillation_loss(student[:, :2].detach(), TEACHER))
    loss.backward()
    assert student.grad is not None
    assert student.grad[:, 2].tolist() == [0.0, 0.0]


def finite_differences(student: Tensor, teacher: Tensor, step: float = 1e-5) -> Tensor:
    gradient = torch.zeros_like(student)
    for at in range(student.numel()):
        shift = torch.zeros_like(student)
        shift.view(-1)[at] = step
        up = distillation_loss(student + shift, teacher)
        down = distillation_loss(student - shift, teacher)
        gradient.view(-1)[at] = (up - down) / (2 * step)
    return gradient


def test_distillation_gradient_agrees_with_finite_differences() -> None:
    generator = torch.Generator().manual_seed(3)
    student = torch.randn(3, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(3, 4, generator=generator, dtype=torch.float64)
    (0.7 * distillation_loss(student, teacher)).backward()
    expected = 0.7 * finite_differences(student.detach(), teacher)
    torch.testing.assert_close(student.grad, expected, rtol=1e-4, atol=1e-7)


def test_bfloat16_gradient_stays_close_to_float32() -> None:
    generator = torch.Generator().manual_seed(0)
    sessions, items = torch.randn(8, 16, generator=generator), torch.randn(50, 16)

    def gradient(precision: torch.dtype) -> Tensor:
        table = items.clone().requires_grad_()
        cross_entropy(item_scores(sessions, table.to(precision)), torch.arange(1, 9)).backward()
        assert table.grad is not None
        return table.grad

    exact, rough = gradient(torch.float32), gradient(torch.bfloat16)
    assert (rough - exact).norm() < 0.03 * exact.norm()


def test_adaptive_weight_by_hand() -> None:
    weight = adaptive_weight(
        0.8, old_items=18_569, items=22_692, exemplars=27_896, train_samples=26_721
    )
    assert weight == pytest.approx(0.8 * math.sqrt(18_569 / 22_692 * 27_896 / 26_721))
    assert weight == pytest.approx(0.73942, abs=1e-5)


def test_adaptive_weight_without_exemplars_is_zero() -> None:
    assert adaptive_weight(0.8, old_items=0, items=5, exemplars=0, train_samples=9) == 0.0
