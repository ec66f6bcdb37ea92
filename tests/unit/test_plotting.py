from __future__ import annotations

import pytest

from ader_stream.paper_results import DIGINETICA
from ader_stream.plotting import CURVES, DARK, LIGHT, Theme, score_plot

SCORES = [(1, 49.0), (2, 51.0)]


@pytest.mark.parametrize("metric", ["recall@20", "mrr@20"])
@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_every_published_curve_can_stand_under_a_run(metric: str, theme: Theme) -> None:
    figure = score_plot(SCORES, metric, DIGINETICA, list(CURVES), theme, across="cycle")
    [axes] = figure.axes
    run, *papers = axes.get_lines()
    assert run.get_xydata().tolist() == [[1, 49], [2, 51]]  # type: ignore[union-attr]
    expected = [DIGINETICA.curves[method][metric][:2] for method in CURVES]
    assert [list(line.get_ydata()) for line in papers] == expected  # type: ignore[arg-type]
    assert len({line.get_color() for line in axes.get_lines()}) == 6
    assert axes.get_xlabel() == "cycle"


def test_a_run_is_called_what_it_is() -> None:
    figure = score_plot(SCORES, "mrr@20", None, [], note=" (simulated clicks)", label="ours")
    assert figure.axes[0].get_lines()[0].get_label() == "ours"
    assert figure.axes[0].get_title("left") == "MRR@20 (simulated clicks)"
