from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ader_stream.ader.evidence import Ranked
from ader_stream.ader.ranking import UNRANKED, ranks_of
from ader_stream.ader.returns import (
    CANDIDATES,
    FIRST_GAINS,
    KINDS,
    add_gains,
    best_gains,
    first_gains,
    observe_returns,
)

GAINS = torch.tensor([1.0, 4.0, 2.5])

NO_EVIDENCE = torch.zeros(KINDS, len(CANDIDATES))


def gained(*items: int) -> list[float]:
    return add_gains(torch.zeros(1, 6), torch.tensor([items]), GAINS)[0].tolist()


def test_each_kind_of_return_has_its_own_gain() -> None:
    assert gained(1, 2, 3, 4) == [2.5, 2.5, 4.0, 1.0, 0.0, 0.0]


def test_an_item_counts_by_its_last_click_and_gains_once() -> None:
    assert gained(1, 1, 2, 1, 3) == [4.0, 2.5, 1.0, 0.0, 0.0, 0.0]
    assert gained(1, 2, 1) == [1.0, 4.0, 0.0, 0.0, 0.0, 0.0]


def test_padding_gains_nothing() -> None:
    assert gained(0, 0, 1, 2) == [4.0, 1.0, 0.0, 0.0, 0.0, 0.0]
    assert gained(3) == [0.0, 0.0, 1.0, 0.0, 0.0, 0.0]


def random_case(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randint(1, 13, (40, 5), generator=generator)
    inputs[:20, :2] = 0
    targets = torch.randint(1, 13, (40,), generator=generator)
    return 4 * torch.rand(40, 12, generator=generator), inputs, targets


@pytest.mark.parametrize("gains", [[0.0, 0.0, 0.0], [0.0, 4.0, 2.5], [-8.0, 1.0, 6.0]])
def test_ranks_are_those_of_the_raised_scores(gains: list[float]) -> None:
    scores, inputs, targets = random_case(0)
    raised = add_gains(scores.clone(), inputs, torch.tensor(gains))
    ranks = observe_returns(scores, inputs, targets).ranks(torch.tensor(gains))
    assert ranks.tolist() == ranks_of(raised, targets).tolist()


def test_best_gains_are_those_of_a_plain_search_of_one_kind() -> None:
    scores, inputs, targets = random_case(1)
    targets[:30] = inputs[:30, -2]
    observed = observe_returns(scores, inputs, targets)

    def mrr(gain: float) -> float:
        raised = add_gains(scores.clone(), inputs, torch.tensor([0.0, gain, 0.0]))
        return float((1 / (ranks_of(raised, targets) + 1)).sum())

    found, _ = best_gains([observed], torch.zeros(3), NO_EVIDENCE, Ranked(share=100))
    alone = max(CANDIDATES.tolist(), key=mrr)
    assert found[1] >= alone > 0
    raised = add_gains(scores.clone(), inputs, found)
    assert (1 / (ranks_of(raised, targets) + 1)).sum() >= mrr(alone)


def test_what_nobody_returns_to_is_taken_out() -> None:
    inputs = torch.tensor([[1, 2, 3]]).repeat(50, 1)
    scores = torch.tensor([[0.9, 0.9, 0.9, 0.5, 0.4]]).repeat(50, 1)
    observed = observe_returns(scores, inputs, torch.full((50,), 4))
    gains, _ = best_gains([observed], FIRST_GAINS, NO_EVIDENCE, Ranked(share=4))
    assert gains.max() < 0


def test_nothing_observed_changes_nothing() -> None:
    gains, evidence = best_gains([], GAINS, NO_EVIDENCE, Ranked())
    assert gains.tolist() == GAINS.tolist()
    assert not evidence.any()


def test_first_gains_take_out_what_is_rare() -> None:
    inputs = torch.tensor([[0, 1, 2, 3]])
    common = [(inputs, torch.tensor([2])), (inputs, torch.tensor([1]))] * 500
    assert first_gains(common).tolist() == [-8.0, 4.0, 2.5]
    assert first_gains([(inputs, torch.tensor([3]))] * 1000).tolist() == [0.0, -8.0, -8.0]


def test_of_a_few_clicks_nothing_is_rare() -> None:
    few = [(torch.tensor([[0, 1, 2, 3]]), torch.tensor([4]))] * 100
    assert first_gains(few).tolist() == FIRST_GAINS.tolist()


def test_first_gains_of_an_empty_block_are_the_usual_ones() -> None:
    assert first_gains([]).tolist() == FIRST_GAINS.tolist()


def test_a_target_whose_score_is_not_a_number_is_in_no_list() -> None:
    scores = torch.tensor([[torch.nan, 0.2, 0.3], [0.1, 0.2, 0.3]])
    inputs = torch.tensor([[1, 2], [1, 2]])
    observed = observe_returns(scores, inputs, torch.tensor([1, 1]))
    assert observed.ranks(GAINS).tolist() == [UNRANKED, 0]
