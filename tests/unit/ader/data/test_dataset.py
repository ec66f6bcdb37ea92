from __future__ import annotations

import numpy as np
import pytest

from ader_stream.ader.data.dataset import (
    LENGTHS,
    by_length,
    hold_out,
    pack,
    pack_by_length,
    pack_prefixes,
    shuffled_batches,
    split_sessions,
)

SESSIONS = [[1, 2, 3], [4], [5, 6]]


def test_every_click_but_the_first_is_a_target_of_those_before_it() -> None:
    samples = split_sessions(SESSIONS, maxlen=50)
    inputs = [
        samples.items[start:end].tolist()
        for start, end in zip(samples.starts, samples.targets, strict=True)
    ]
    assert inputs == [[1], [1, 2], [5]]
    assert samples.labels.tolist() == [2, 3, 6]


def test_sessions_of_one_click_give_no_sample() -> None:
    assert len(split_sessions([[1], [2]], maxlen=50)) == 0


def test_no_session_at_all_gives_no_sample() -> None:
    assert len(split_sessions([], maxlen=50)) == 0


def test_inputs_are_the_last_maxlen_clicks() -> None:
    samples = split_sessions([[1, 2, 3, 4]], maxlen=2)
    assert pack(samples, np.array([2])).inputs.tolist() == [[2, 3]]


def test_packing_pads_on_the_left_to_the_longest_of_the_batch() -> None:
    batch = pack(split_sessions(SESSIONS, maxlen=50), np.array([2, 1]))
    assert batch.inputs.tolist() == [[0, 5], [1, 2]]
    assert batch.targets.tolist() == [6, 3]


def test_prefixes_are_packed_like_samples() -> None:
    assert pack_prefixes([[1, 2, 3], [4]], maxlen=2).tolist() == [[2, 3], [0, 4]]


def test_joined_samples_keep_their_clicks() -> None:
    joined = split_sessions(SESSIONS, 50) + split_sessions([[7, 8]], 50)
    assert joined.labels.tolist() == [2, 3, 6, 8]
    assert pack(joined, np.array([3])).inputs.tolist() == [[7]]


@pytest.mark.parametrize(("count", "held_out"), [(1, 0), (4, 0), (6, 1), (100, 10)])
def test_a_tenth_is_held_out_or_nothing(count: int, held_out: int) -> None:
    samples = split_sessions([range(1, count + 2)], maxlen=50)
    training, validation = hold_out(samples, 0.1, np.random.default_rng(0))
    assert (len(training), len(validation)) == (count - held_out, held_out)
    targets = np.concatenate([training.targets, validation.targets])
    assert sorted(targets) == sorted(samples.targets)


def test_batches_cover_every_sample_once() -> None:
    lengths = np.random.default_rng(0).integers(1, 50, size=1000)
    batches = shuffled_batches(lengths, 16, np.random.default_rng(0))
    assert len(batches) == 63
    assert sorted(np.concatenate(batches)) == list(range(1000))


def test_batches_begin_with_the_shortest() -> None:
    lengths = np.random.default_rng(0).integers(1, 50, size=100)
    for batch in shuffled_batches(lengths, 16, np.random.default_rng(0)):
        assert (np.diff(lengths[batch]) >= 0).all()


def test_batches_are_random_in_length() -> None:
    lengths = np.random.default_rng(0).integers(1, 50, size=1600)
    means = [
        lengths[batch].mean() for batch in shuffled_batches(lengths, 160, np.random.default_rng(0))
    ]
    assert np.ptp(means) < 10


def test_packing_by_length_keeps_the_order_and_pads_little() -> None:
    samples = split_sessions([range(1, 31), [5, 6, 7]], maxlen=50)
    rows = np.argsort(samples.lengths, kind="stable")
    pieces = pack_by_length(samples, rows)
    assert (
        np.concatenate([piece.targets for piece in pieces]).tolist()
        == samples.labels[rows].tolist()
    )
    assert [piece.inputs.shape[1] for piece in pieces] == [*LENGTHS, 29]
    assert [len(piece.inputs) for piece in pieces] == [2, 2, 2, 4, 8, 13]


def test_packing_by_length_leaves_empty_classes_out() -> None:
    samples = split_sessions([[1, 2, 3, 4]], maxlen=50)
    assert [piece.inputs.tolist() for piece in pack_by_length(samples, np.array([2]))] == [
        [[1, 2, 3]]
    ]


def test_batches_come_in_another_order_every_pass() -> None:
    rng = np.random.default_rng(0)
    first, second = (shuffled_batches(np.ones(64, dtype=np.int64), 8, rng) for _ in range(2))
    assert np.concatenate(first).tolist() != np.concatenate(second).tolist()


def test_by_length_goes_from_short_to_long() -> None:
    chunks = [rows.tolist() for rows in by_length(np.array([3, 1, 2, 1]), 2)]
    assert chunks == [[1, 3], [2, 0]]
