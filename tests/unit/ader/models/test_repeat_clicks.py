from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ader_stream.ader.data.evidence import EvidenceWeights
from ader_stream.ader.models.ranking import UNRANKED, ranks_of
from ader_stream.ader.models.repeat_clicks import (
    CANDIDATES,
    FIRST_GAINS,
    KINDS,
    add_gains,
    best_gains,
    by_kind,
    first_gains,
    observe_repeat_clicks,
)

GAINS = by_kind(torch.tensor([1.0, 4.0, 2.5]))

NO_EVIDENCE = torch.zeros(KINDS, len(CANDIDATES))


def gained(*items: int, gains: Tensor = GAINS) -> list[float]:
    return add_gains(torch.zeros(1, 6), torch.tensor([items]), gains)[0].tolist()


def test_each_kind_of_return_has_its_own_gain() -> None:
    assert gained(1, 2, 3, 4) == [2.5, 2.5, 4.0, 1.0, 0.0, 0.0]


def test_a_session_that_has_returned_before_has_other_gains() -> None:
    gains = torch.tensor([9.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    assert gained(4, gains=gains) == [0.0, 0.0, 0.0, 9.0, 0.0, 0.0]
    assert gained(0, 1, 2, 3, 4, gains=gains) == [3.0, 3.0, 2.0, 1.0, 0.0, 0.0]
    assert gained(1, 2, 1, 3, 4, gains=gains) == [6.0, 6.0, 5.0, 4.0, 0.0, 0.0]
    assert gained(0, 2, 2, gains=gains) == [0.0, 4.0, 0.0, 0.0, 0.0, 0.0]


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


@pytest.mark.parametrize(
    "gains",
    [[0.0] * KINDS, [0.0, 0.0, 4.0, 2.5, 1.0, 2.5, 2.0], [-8.0, 1.0, 6.0, -1.0, 5.0, 3.0, -2.0]],
)
def test_ranks_are_those_of_the_raised_scores(gains: list[float]) -> None:
    scores, inputs, targets = random_case(0)
    raised = add_gains(scores.clone(), inputs, torch.tensor(gains))
    ranks = observe_repeat_clicks(scores, inputs, targets).ranks(torch.tensor(gains))
    assert ranks.tolist() == ranks_of(raised, targets).tolist()


def test_best_gains_are_those_of_a_plain_search_of_one_kind() -> None:
    scores, inputs, targets = random_case(1)
    targets[:30] = inputs[:30, -2]
    observed = observe_repeat_clicks(scores, inputs, targets)

    def mrr(gain: float) -> float:
        raised = add_gains(scores.clone(), inputs, by_kind(torch.tensor([0.0, gain, 0.0])))
        return float((1 / (ranks_of(raised, targets) + 1)).sum())

    found, _ = best_gains([observed], torch.zeros(KINDS), NO_EVIDENCE, EvidenceWeights(share=100))
    alone = max(CANDIDATES.tolist(), key=mrr)
    assert max(found[2], found[5]) >= alone > 0
    raised = add_gains(scores.clone(), inputs, found)
    assert (1 / (ranks_of(raised, targets) + 1)).sum() >= mrr(alone)


def test_what_nobody_returns_to_is_taken_out() -> None:
    inputs = torch.tensor([[1, 2, 3]]).repeat(50, 1)
    scores = torch.tensor([[0.9, 0.9, 0.9, 0.5, 0.4]]).repeat(50, 1)
    observed = observe_repeat_clicks(scores, inputs, torch.full((50,), 4))
    gains, _ = best_gains([observed], by_kind(FIRST_GAINS), NO_EVIDENCE, EvidenceWeights(share=4))
    assert gains[1:4].max() < 0
    assert torch.equal(gains[4:], by_kind(FIRST_GAINS)[4:]), "no session had returned before"


def test_sessions_that_come_back_and_those_that_never_do_are_distinguished() -> None:
    """Who has returned once goes back again; who has not goes on to item 5."""
    inputs = torch.tensor([[0, 1, 2], [1, 2, 1]]).repeat(50, 1)
    targets = torch.tensor([5, 2]).repeat(50)
    scores = torch.tensor([[0.9, 0.9, 0.3, 0.4, 0.5]]).repeat(100, 1)
    observed = observe_repeat_clicks(scores, inputs, targets)
    found, _ = best_gains([observed], by_kind(FIRST_GAINS), NO_EVIDENCE, EvidenceWeights(share=4))
    ranks = ranks_of(add_gains(scores, inputs, found), targets)
    assert ranks.tolist() == [0, 0] * 50


def test_nothing_observed_changes_nothing() -> None:
    gains, evidence = best_gains([], GAINS, NO_EVIDENCE, EvidenceWeights())
    assert gains.tolist() == GAINS.tolist()
    assert not evidence.any()


def test_first_gains_take_out_what_is_rare() -> None:
    inputs = torch.tensor([[0, 1, 2, 3]])
    common = [(inputs, torch.tensor([2])), (inputs, torch.tensor([1]))] * 500
    assert torch.equal(first_gains(common), by_kind(torch.tensor([-8.0, 4.0, 2.5])))
    last = [(inputs, torch.tensor([3]))] * 1000
    assert torch.equal(first_gains(last), by_kind(torch.tensor([0.0, -8.0, -8.0])))


def test_of_a_few_clicks_nothing_is_rare() -> None:
    few = [(torch.tensor([[0, 1, 2, 3]]), torch.tensor([4]))] * 100
    assert torch.equal(first_gains(few), by_kind(FIRST_GAINS))


def test_first_gains_of_an_empty_block_are_the_usual_ones() -> None:
    assert torch.equal(first_gains([]), by_kind(FIRST_GAINS))


def test_a_target_whose_score_is_not_a_number_is_in_no_list() -> None:
    scores = torch.tensor([[torch.nan, 0.2, 0.3], [0.1, 0.2, 0.3]])
    inputs = torch.tensor([[1, 2], [1, 2]])
    observed = observe_repeat_clicks(scores, inputs, torch.tensor([1, 1]))
    assert observed.ranks(GAINS).tolist() == [UNRANKED, 0]
