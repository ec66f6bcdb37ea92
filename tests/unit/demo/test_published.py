from __future__ import annotations

import pytest

from ader_stream.demo.published import DIGINETICA, published_curves

FINGERPRINT = "1c6f7164ad544a483804fc0324a2023801537e5e5db9af0a76d04eca2b83ec86"


def test_the_data_set_is_recognised_by_its_fingerprint_alone() -> None:
    assert published_curves(FINGERPRINT) is DIGINETICA
    assert published_curves("0" * 64) is None
    assert published_curves(None) is None


@pytest.mark.parametrize(
    ("curve", "metric", "mean"),
    [
        (DIGINETICA.ader, "recall@20", 50.21),
        (DIGINETICA.ader, "mrr@20", 17.32),
        (DIGINETICA.finetune, "recall@20", 47.28),
        (DIGINETICA.finetune, "mrr@20", 16.01),
    ],
)
def test_the_mean_of_a_curve_is_that_of_the_papers_table(
    curve: dict[str, tuple[float, ...]], metric: str, mean: float
) -> None:
    assert len(curve[metric]) == 16
    assert sum(curve[metric]) / 16 == pytest.approx(mean, abs=0.01)


def test_cycle_t_is_that_of_block_t() -> None:
    assert [DIGINETICA.at("mrr@20", block) for block in (0, 1, 16, 17)] == [
        None,
        17.71,
        17.26,
        None,
    ]
