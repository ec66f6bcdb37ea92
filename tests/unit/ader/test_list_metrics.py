from __future__ import annotations

import numpy as np
import pytest
import torch

from ader_stream.ader.data.dataset import split_sessions
from ader_stream.ader.metrics import describe_lists
from ader_stream.ader.models import ranking
from ader_stream.ader.models.base import SessionModel
from ader_stream.ader.models.ranking import top_k

SAMPLES = split_sessions([[1, 2, 3], [4, 5], [9, 8, 7, 6]], maxlen=6)
PREFIXES = [[1], [1, 2], [4], [9], [9, 8], [9, 8, 7]]


def test_lists_by_hand(model: SessionModel) -> None:
    found = describe_lists(model, SAMPLES, k=3)
    items, _ = top_k(model, PREFIXES, 3)
    names, counts = np.unique(items, return_counts=True)
    assert found["coverage"] == pytest.approx(100 * len(names) / 9)
    shares = counts / counts.sum()
    assert found["effective_items"] == pytest.approx(np.exp(-(shares * np.log(shares)).sum()))
    table = model.item_table().detach()
    pairs = [(a, b) for row in items for a in row for b in row if a < b]
    cosines = [torch.cosine_similarity(table[a - 1], table[b - 1], dim=0).item() for a, b in pairs]
    assert found["diversity"] == pytest.approx(1 - np.mean(cosines), rel=1e-4)


def test_lists_of_the_whole_catalogue_cover_it_evenly(model: SessionModel) -> None:
    found = describe_lists(model, SAMPLES, k=100)
    assert found["coverage"] == 100
    assert found["effective_items"] == pytest.approx(9)


def test_lists_of_items_that_are_all_alike_have_no_diversity(model: SessionModel) -> None:
    with torch.no_grad():
        model.items.weight[:] = model.items.weight[0]
    assert describe_lists(model, SAMPLES, k=4)["diversity"] == pytest.approx(0, abs=1e-5)


def test_without_samples_there_is_nothing_to_describe(model: SessionModel) -> None:
    assert describe_lists(model, split_sessions([[1]], maxlen=6)) == {}


def test_chunks_change_nothing(model: SessionModel, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = describe_lists(model, SAMPLES, k=3)
    monkeypatch.setattr(ranking, "CHUNK_SCORES", 2 * 9)
    assert describe_lists(model, SAMPLES, k=3) == pytest.approx(whole)
