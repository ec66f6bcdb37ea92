from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from ader_stream.ader.training import losses
from ader_stream.ader.training.losses import CycleSizes, FusedLoss, Loss, PlainLoss, adaptive_weight
from ader_stream.ader.training.matrix_buffer import MatrixBuffer
from ader_stream.ader.training.targets import DistillationTarget, Labels, Target, softmax_

QUARTERS = torch.tensor([[0.25, 0.75], [0.5, 0.5]])
"""What a teacher says of two sessions and two items."""

both_ways = pytest.mark.parametrize("loss", [FusedLoss(torch.float32), PlainLoss()])


def distilled_from(probabilities: Tensor, weight: float = 1.0) -> DistillationTarget:
    """Sessions that are rows of the identity: the teacher's scores are its log probabilities."""
    count, dtype = len(probabilities), probabilities.dtype
    table, labels = probabilities.log().T, torch.ones(count, dtype=torch.int64)
    return DistillationTarget(
        torch.eye(count, dtype=dtype), table, labels, MatrixBuffer(dtype), weight
    )


def of_scores(loss: Loss, scores: Tensor, target: Target) -> Tensor:
    """Sessions that are rows of the identity have the table's columns as their scores."""
    return loss([torch.eye(len(scores))], scores.T, [target])


def random_case(dtype: torch.dtype = torch.float32) -> tuple[list[Tensor], Tensor, list[Target]]:
    """Five new sessions with labels among nine items; three exemplars, seven items taught."""
    generator = torch.Generator().manual_seed(3)
    draw = partial(torch.randn, generator=generator, dtype=dtype)
    sessions = [draw(5, 4).requires_grad_(), draw(3, 4).requires_grad_()]
    taught = distilled_from(draw(3, 7).softmax(1), weight=0.7)
    return sessions, draw(9, 4).requires_grad_(), [Labels(torch.tensor([1, 9, 4, 4, 2])), taught]


@both_ways
def test_cross_entropy_of_equal_scores_is_the_log_of_the_choices(loss: Loss) -> None:
    equal = of_scores(loss, torch.zeros(2, 8), Labels(torch.tensor([1, 8])))
    assert equal.item() == pytest.approx(math.log(8))


@both_ways
def test_distillation_by_hand(loss: Loss) -> None:
    # Teacher ¼, ¾ and ½, ½; the student says ½, ½ both times: the loss is log 2.
    student = of_scores(loss, torch.zeros(2, 2), distilled_from(QUARTERS, weight=0.5))
    assert student.item() == pytest.approx(0.5 * math.log(2))


@both_ways
def test_distillation_is_smallest_at_the_teacher(loss: Loss) -> None:
    at_teacher = QUARTERS.log()
    entropy = of_scores(loss, at_teacher, distilled_from(QUARTERS))
    for shift in (0.1, -0.1):
        student = at_teacher + torch.tensor([[shift, 0.0]])
        assert entropy < of_scores(loss, student, distilled_from(QUARTERS))


@both_ways
def test_distillation_leaves_out_items_that_the_teacher_does_not_know(loss: Loss) -> None:
    student = torch.tensor([[0.5, 0.2, 9.0], [0.1, 0.4, -9.0]], requires_grad=True)
    taught = of_scores(loss, student, distilled_from(QUARTERS))
    torch.testing.assert_close(taught, of_scores(loss, student[:, :2], distilled_from(QUARTERS)))
    taught.backward()
    assert student.grad is not None
    assert student.grad[:, 2].tolist() == [0.0, 0.0]


def gradients(loss: Loss, case: tuple[list[Tensor], Tensor, list[Target]]) -> list[Tensor]:
    sessions, table, targets = case
    loss(sessions, table, targets).backward()
    return [tensor.grad for tensor in (table, *sessions) if tensor.grad is not None]


@pytest.mark.parametrize("scores_at_once", [2**26, 20, 1])
def test_fused_and_plain_loss_agree(scores_at_once: int) -> None:
    fused = FusedLoss(torch.float32, scores_at_once)
    torch.testing.assert_close(fused(*random_case()), PlainLoss()(*random_case()))
    ours, theirs = gradients(fused, random_case()), gradients(PlainLoss(), random_case())
    assert len(ours) == 3
    torch.testing.assert_close(ours, theirs)


def finite_differences(loss: Callable[[], Tensor], at: Tensor, step: float = 1e-5) -> Tensor:
    gradient = torch.zeros_like(at)
    flat = at.detach().view(-1)
    for place in range(len(flat)):
        before = flat[place].item()
        flat[place] = before + step
        up = loss()
        flat[place] = before - step
        gradient.view(-1)[place] = (up - loss()) / (2 * step)
        flat[place] = before
    return gradient


def test_gradients_agree_with_finite_differences() -> None:
    fused, case = FusedLoss(torch.float64), random_case(torch.float64)
    sessions, table, targets = case
    for ours, place in zip(gradients(fused, case), (table, *sessions), strict=True):
        expected = finite_differences(lambda: PlainLoss()(sessions, table, targets), place)
        torch.testing.assert_close(ours, expected.detach(), rtol=1e-4, atol=1e-7)


def test_gradients_follow_the_weight_of_what_comes_after() -> None:
    once, twice = random_case(), random_case()
    fused = FusedLoss(torch.float32)
    fused(*once).backward()
    (2 * fused(*twice)).backward()
    assert once[1].grad is not None
    torch.testing.assert_close(twice[1].grad, 2 * once[1].grad)


@pytest.mark.parametrize("rows_at_once", [2, losses.ROWS_AT_ONCE])
def test_bfloat16_gradient_stays_close_to_float32(
    rows_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses, "ROWS_AT_ONCE", rows_at_once)
    exact = gradients(FusedLoss(torch.float32), random_case())
    rough = gradients(FusedLoss(torch.bfloat16), random_case())
    for ours, theirs in zip(rough, exact, strict=True):
        assert (ours - theirs).norm() < 0.03 * theirs.norm()


def test_softmax_in_place_equals_softmax_out_of_place() -> None:
    scores = 30 * torch.randn(7, 1000, generator=torch.Generator().manual_seed(0))
    expected, normaliser = scores.softmax(1), scores.logsumexp(1)
    torch.testing.assert_close(softmax_(scores), normaliser)
    torch.testing.assert_close(scores, expected, rtol=0, atol=0)


def test_adaptive_weight_by_hand() -> None:
    sizes = CycleSizes(old_items=18_569, items=22_692, exemplars=27_896, train_samples=26_721)
    weight = adaptive_weight(0.8, sizes)
    assert weight == pytest.approx(0.8 * math.sqrt(18_569 / 22_692 * 27_896 / 26_721))
    assert weight == pytest.approx(0.73942, abs=1e-5)


def test_adaptive_weight_without_exemplars_is_zero() -> None:
    assert adaptive_weight(0.8, CycleSizes(0, 5, exemplars=0, train_samples=9)) == 0.0


def test_the_weight_of_exemplars_beside_a_few_samples_is_bounded() -> None:
    weights = [
        adaptive_weight(4.0, CycleSizes(5, 5, exemplars=30_000, train_samples=n))
        for n in (1, 40, 30_000)
    ]
    assert weights == [8.0, 8.0, 4.0]
