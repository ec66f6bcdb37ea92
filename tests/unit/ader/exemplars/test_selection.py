from __future__ import annotations

import numpy as np
import pytest
import torch

from ader_stream.ader.data.arrays import Int64
from ader_stream.ader.data.dataset import Samples, split_sessions
from ader_stream.ader.exemplars.herding import herd
from ader_stream.ader.exemplars.selection import (
    AllocationInputs,
    Exemplars,
    SelectionInputs,
    allocate_equally,
    allocate_exemplars,
    allocate_within,
    at_random,
    by_herding,
    by_loss,
    choose_only_where_needed,
    first_of_each_label,
    represent_samples,
    sample_losses,
    select_exemplars,
)
from ader_stream.ader.models.sasrec import SASRec


def quotas(**wanted: int) -> np.ndarray:
    by_item = np.zeros(10, dtype=np.int64)
    for item, count in wanted.items():
        by_item[int(item[1:])] = count
    return by_item


def allocation(counts: Int64, total: int) -> AllocationInputs:
    return AllocationInputs(counts, counts, total, np.random.default_rng(0))


def selection(model: SASRec, candidates: Samples, quotas: Int64, seed: int = 0) -> SelectionInputs:
    return SelectionInputs(model, candidates, quotas, np.random.default_rng(seed))


@pytest.mark.parametrize("total", [1, 7, 30_000])
def test_allocation_sums_to_the_total(total: int) -> None:
    counts = np.array([0, 5, 0, 1, 90])
    shares = allocate_exemplars(allocation(counts, total))
    assert shares.sum() == total
    assert shares[counts == 0].sum() == 0


def test_allocation_follows_the_counts() -> None:
    counts = np.array([0, 1, 3])
    shares = allocate_exemplars(allocation(counts, 40_000))
    assert shares[2] / shares[1] == pytest.approx(3, rel=0.05)


def test_small_blocks_replace_no_more_exemplars_than_they_have_clicks() -> None:
    rng = np.random.default_rng(0)
    kept = np.concatenate([[0], np.full(400, 1), np.full(50, 8)])
    lost = 0
    for _ in range(100):
        more = np.bincount(rng.integers(1, len(kept), 3), minlength=len(kept))
        inputs = AllocationInputs(np.sqrt(kept + more), kept + more, 800, rng)
        wanted = allocate_within(inputs)
        lost += np.maximum(kept - wanted, 0).sum()
        kept = wanted
    assert kept.sum() == 800
    assert (kept[1:] > 0).all(), "no item has lost its last one"
    assert lost <= 300


def test_who_may_keep_all_keeps_all(model: SASRec) -> None:
    candidates = split_sessions([[1, 2], [3, 2], [4, 2], [1, 5], [3, 5], [4, 5], [2, 5]], maxlen=6)
    asked: list[int] = []

    def choose(inputs: SelectionInputs) -> Int64:
        labels = inputs.candidates.labels
        asked.extend(labels.tolist())
        return first_of_each_label(np.arange(len(labels)), labels, inputs.quotas)

    rows = choose_only_where_needed(choose)(selection(model, candidates, quotas(i2=3, i5=2)))
    assert sorted(candidates.labels[rows].tolist()) == [2, 2, 2, 5, 5]
    assert set(asked) == {5}


@pytest.mark.parametrize(("power", "ratio"), [(1.0, 9.0), (0.5, 3.0), (0.0, 1.0)])
def test_a_low_power_leaves_more_exemplars_to_rare_items(
    model: SASRec, power: float, ratio: float
) -> None:
    asked: list[np.ndarray] = []

    def allocate(inputs: AllocationInputs) -> Int64:
        asked.append(inputs.weights)
        return allocate_exemplars(inputs)

    candidates = split_sessions([[1, 2]] * 9 + [[2, 3]], maxlen=6)
    rng = np.random.default_rng(0)
    select_exemplars(model, candidates, 5, rng, allocate, power=power)
    assert asked[0][2] / asked[0][3] == pytest.approx(ratio)
    assert asked[0][[0, 1]].tolist() == [0, 0], "padding, and what is nobody's target"


def test_herding_takes_the_one_closest_to_the_mean_first() -> None:
    angles = np.radians([0, 10, 80])
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    labels = np.array([4, 4, 4], dtype=np.int32)
    assert herd(points, labels, quotas(i4=1)).tolist() == [1]


def test_herding_balances_what_it_has_taken() -> None:
    # The mean points to 30°; after 10°, w = 2μ − d(10°) points beyond it: 80° is next.
    angles = np.radians([0, 10, 80])
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    labels = np.array([4, 4, 4], dtype=np.int32)
    assert herd(points, labels, quotas(i4=2)).tolist() == [1, 2]


def test_herding_goes_by_direction_and_not_by_length() -> None:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(12, 5)).astype(np.float32)
    labels = np.array([1] * 6 + [2] * 6, dtype=np.int32)
    scaled = points * rng.uniform(0.5, 2.0, size=(12, 1)).astype(np.float32)
    wanted = quotas(i1=3, i2=2)
    assert set(herd(points, labels, wanted)) == set(herd(scaled, labels, wanted))


def test_herding_gives_no_label_more_than_it_has() -> None:
    points = np.eye(5, dtype=np.float32)[:3]
    labels = np.array([3, 3, 8], dtype=np.int32)
    chosen = herd(points, labels, quotas(i3=9, i8=1))
    assert sorted(chosen) == [0, 1, 2]


def test_exemplars_hold_the_chosen_clicks_and_no_others() -> None:
    samples = split_sessions([[1, 2, 3], [4, 5]], maxlen=50)
    exemplars = Exemplars.of(samples.take(np.array([2, 1])))
    assert exemplars.items.tolist() == [4, 5, 1, 2, 3]
    assert exemplars.offsets.tolist() == [0, 2, 5]
    assert exemplars.samples().labels.tolist() == [5, 3]


def test_exemplars_are_cut_to_what_the_model_reads() -> None:
    samples = split_sessions([[1, 2, 3, 4]], maxlen=2)
    assert Exemplars.of(samples.take(np.array([2]))).items.tolist() == [2, 3, 4]


def test_none_is_empty() -> None:
    assert (len(Exemplars.none()), len(Exemplars.none().samples())) == (0, 0)


def test_selection_keeps_labels_in_proportion(model: SASRec) -> None:
    sessions = [[1, 2]] * 1 + [[3, 4], [5, 4], [6, 4], [7, 4], [8, 4], [9, 4]]
    candidates = split_sessions(sessions, maxlen=6)
    kept = select_exemplars(model, candidates, 5, np.random.default_rng(0))
    labels = kept.samples().labels.tolist()
    assert 3 <= labels.count(4) <= 5
    assert len(kept) <= 5


def test_selection_of_none_keeps_none(model: SASRec) -> None:
    candidates = split_sessions([[1, 2]], maxlen=6)
    assert len(select_exemplars(model, candidates, 0, np.random.default_rng(0))) == 0


def test_representations_stand_at_their_sample(model: SASRec) -> None:
    samples = split_sessions([[1, 2, 3, 4], [5, 6]], maxlen=6)
    together = represent_samples(model, samples)
    alone = [represent_samples(model, samples.take(np.array([row])))[0] for row in range(4)]
    np.testing.assert_allclose(together, np.stack(alone), atol=1e-5)


def test_equal_allocation_asks_as_much_of_every_known_item() -> None:
    counts = np.array([0, 900, 1, 0])
    shares = allocate_equally(allocation(counts, 30_000))
    assert shares.sum() == 30_000
    assert shares[0] == 0
    assert shares[1:] == pytest.approx([10_000] * 3, rel=0.05)


def test_rows_are_taken_in_order_until_the_label_is_full() -> None:
    labels = np.array([3, 8, 3, 3, 8], dtype=np.int32)
    order = np.array([4, 2, 0, 3, 1])
    chosen = first_of_each_label(order, labels, quotas(i3=2, i8=5))
    assert chosen.tolist() == [2, 0, 4, 1]


def test_random_choice_fills_the_quotas_without_repeating(model: SASRec) -> None:
    samples = split_sessions([[1, 2], [3, 2], [4, 2], [5, 6]], maxlen=6)
    picks = [
        at_random(selection(model, samples, quotas(i2=2, i6=3), seed)).tolist()
        for seed in range(20)
    ]
    assert all(len(set(rows)) == 3 and 3 in rows for rows in picks)
    assert {row for rows in picks for row in rows} == {0, 1, 2, 3}


def test_losses_are_those_of_the_label_over_all_items(model: SASRec) -> None:
    samples = split_sessions([[1, 2, 3], [4, 5]], maxlen=6)
    losses = sample_losses(model, samples)
    with torch.no_grad():
        scores = model(torch.tensor([[1, 2]])) @ model.item_table().T
    assert losses[1] == pytest.approx(-scores.log_softmax(1)[0, 2].item(), rel=1e-5)


def test_choice_by_loss_takes_what_the_model_predicts_best(model: SASRec) -> None:
    samples = split_sessions([[1, 2], [3, 2], [4, 2], [5, 2], [5, 6]], maxlen=6)
    losses = sample_losses(model, samples)
    chosen = by_loss(selection(model, samples, quotas(i2=2)))
    assert chosen.tolist() == np.argsort(losses[:4])[:2].tolist()


def test_choice_by_herding_is_herding_of_the_representations(model: SASRec) -> None:
    samples = split_sessions([[1, 2], [3, 2], [4, 2], [5, 6]], maxlen=6)
    wanted = quotas(i2=2, i6=1)
    chosen = by_herding(selection(model, samples, wanted))
    expected = herd(represent_samples(model, samples), samples.labels, wanted)
    assert chosen.tolist() == expected.tolist()


def test_selection_where_no_candidate_is_wanted_keeps_none(model: SASRec) -> None:
    candidates = split_sessions([[1, 2]], maxlen=6)
    kept = select_exemplars(
        model, candidates, 3, np.random.default_rng(0), lambda of: np.zeros_like(of.available)
    )
    assert len(kept) == 0
