from __future__ import annotations

import pytest

from ader_stream.ader.methods import METHODS
from ader_stream.paper_results import DIGINETICA, published_results

FINGERPRINT = "1c6f7164ad544a483804fc0324a2023801537e5e5db9af0a76d04eca2b83ec86"


def test_the_data_set_is_recognised_by_its_fingerprint_alone() -> None:
    assert published_results(FINGERPRINT) is DIGINETICA
    assert published_results("0" * 64) is None
    assert published_results(None) is None


@pytest.mark.parametrize("metric", ["recall@20", "mrr@20"])
@pytest.mark.parametrize("method", ["ader", "joint", "dropout", "ewc", "finetune"])
def test_the_mean_of_a_curve_is_that_of_the_papers_table(method: str, metric: str) -> None:
    assert len(DIGINETICA.curves[method][metric]) == 16
    mean = DIGINETICA.mean(method, metric, cycles=16)
    assert mean == pytest.approx(DIGINETICA.means[method][metric], abs=0.01)


def test_the_mean_of_some_cycles_is_of_the_first_ones() -> None:
    assert DIGINETICA.mean("joint", "mrr@20", cycles=2) == pytest.approx((17.65 + 17.92) / 2)


def test_there_is_no_mean_without_a_curve_or_of_cycles_that_it_has_not() -> None:
    assert DIGINETICA.mean("er-loss", "recall@20", cycles=6) is None
    assert DIGINETICA.mean("ader", "recall@10", cycles=6) is None
    assert DIGINETICA.mean("ader", "recall@20", cycles=17) is None


def test_every_method_of_the_paper_has_its_means() -> None:
    assert len(DIGINETICA.means) == 10
    assert set(DIGINETICA.means) <= set(METHODS), "others have no results in the paper"


def test_cycle_t_is_that_of_block_t() -> None:
    assert [DIGINETICA.at("mrr@20", block) for block in (0, 1, 16, 17)] == [
        None,
        17.71,
        17.26,
        None,
    ]
