from __future__ import annotations

import numpy as np
import pytest
import torch

from ader_stream.ader.metrics import count_ranks
from ader_stream.ader.models import ranking
from ader_stream.ader.models.ranking import UNRANKED, best_of, rank_targets, ranks_of, top_k
from ader_stream.ader.models.sasrec import SASRec
from ader_stream.errors import InputError

SCORES = torch.tensor([[0.1, 0.9, 0.5, 0.9, 0.5]])


@pytest.mark.parametrize(("target", "rank"), [(2, 0), (4, 1), (3, 2), (5, 3), (1, 4)])
def test_ties_go_to_the_lower_index(target: int, rank: int) -> None:
    assert ranks_of(SCORES, torch.tensor([target])).tolist() == [rank]


def test_all_scores_equal_is_not_a_hit_for_everyone() -> None:
    scores = torch.zeros(3, 100)
    assert ranks_of(scores, torch.tensor([1, 50, 100])).tolist() == [0, 49, 99]


@pytest.mark.parametrize("items", [1, 5, 1000])
def test_a_model_of_no_numbers_hits_nothing(items: int) -> None:
    targets = torch.arange(1, items + 1)
    ranks = ranks_of(torch.full((items, items), torch.nan), targets)
    assert ranks.tolist() == [UNRANKED] * items
    counts = count_ranks(ranks.numpy())
    assert (counts.targets, counts.hits20, counts.reciprocal20) == (items, 0, 0)


def test_a_score_that_is_not_a_number_beats_nothing() -> None:
    scores = torch.tensor([[torch.nan, 0.2, torch.nan, 0.9, -torch.inf]])
    ranks = [ranks_of(scores, torch.tensor([target])).item() for target in (1, 2, 3, 4, 5)]
    assert ranks == [UNRANKED, 1, UNRANKED, 0, 2]
    columns, values = best_of(scores, 5)
    assert columns[0, :2].tolist() == [3, 1]
    assert values[0, 2:].isneginf().all()


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5])
def test_list_is_in_the_order_of_the_ranks(k: int) -> None:
    columns, values = best_of(SCORES, k)
    assert columns[0].tolist() == [1, 3, 2, 4, 0][:k]
    assert values[0].tolist() == SCORES[0, columns[0]].tolist()


def test_list_takes_the_lowest_indices_where_a_tie_straddles_its_end() -> None:
    scores = torch.zeros(2, 1000)
    scores[0, 700] = 1
    assert best_of(scores, 3)[0].tolist() == [[700, 0, 1], [0, 1, 2]]


def test_ranks_agree_with_a_full_sort(model: SASRec) -> None:
    prefixes, targets = [[1], [2, 3, 4], [9, 1]], [4, 1, 9]
    ranks = rank_targets(model, prefixes, targets)
    for prefix, target, rank in zip(prefixes, targets, ranks, strict=True):
        with torch.no_grad():
            scores = model(torch.tensor([prefix]))[0] @ model.item_table().T
        assert scores.argsort(descending=True).tolist().index(target - 1) == rank


def test_top_k_and_ranks_tell_the_same(model: SASRec) -> None:
    prefixes = [[1], [2, 3, 4], [9, 1]]
    indices, scores = top_k(model, prefixes, 9)
    assert (np.diff(scores) <= 0).all()
    for place in range(9):
        ranks = rank_targets(model, prefixes, indices[:, place].tolist())
        assert ranks.tolist() == [place] * 3


def test_chunks_change_nothing(model: SASRec, monkeypatch: pytest.MonkeyPatch) -> None:
    prefixes, targets = [[i % 9 + 1] * (i % 5 + 1) for i in range(40)], [3] * 40
    whole, (indices, _) = rank_targets(model, prefixes, targets), top_k(model, prefixes, 4)
    monkeypatch.setattr(ranking, "CHUNK_SCORES", 7 * 9)
    assert rank_targets(model, prefixes, targets).tolist() == whole.tolist()
    assert top_k(model, prefixes, 4)[0].tolist() == indices.tolist()


def test_only_the_last_maxlen_clicks_count(model: SASRec) -> None:
    long, cut = [7, 8, 1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6]
    assert top_k(model, [long], 9)[0].tolist() == top_k(model, [cut], 9)[0].tolist()
    assert rank_targets(model, [long], [3]).tolist() == rank_targets(model, [cut], [3]).tolist()


def test_list_longer_than_the_catalogue_holds_all_of_it(model: SASRec) -> None:
    assert sorted(top_k(model, [[1]], 100)[0][0]) == list(range(1, 10))


def test_nothing_to_rank_gives_nothing(model: SASRec) -> None:
    assert rank_targets(model, [], []).tolist() == []
    assert top_k(model, [], 3)[0].shape == (0, 3)


def test_empty_prefix_is_refused_by_number(model: SASRec) -> None:
    with pytest.raises(InputError, match="prefix 1"):
        top_k(model, [[1], []], 3)
    with pytest.raises(InputError, match="prefix 0"):
        rank_targets(model, [[]], [1])
