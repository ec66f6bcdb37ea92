from __future__ import annotations

from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ader_stream.demo.plots import draw_plots
from ader_stream.demo.report import DemoReport
from ader_stream.paper_results import DIGINETICA
from ader_stream.plotting import as_png, as_svg

NAMES = {"recall_at_20", "mrr_at_20", "new_item_share", "training_time", "publish_to_live"}


def axes_of(figure: Figure) -> Axes:
    [axes] = figure.axes
    return axes


def lines_of(figure: Figure) -> dict[str, list[list[float]]]:
    return {
        str(line.get_label()): np.asarray(line.get_xydata()).tolist()
        for line in axes_of(figure).get_lines()
    }


def bars_of(figure: Figure) -> list[tuple[float, float]]:
    bars = axes_of(figure).containers[0].patches  # type: ignore[attr-defined]
    return [(bar.get_x() + bar.get_width() / 2, bar.get_height()) for bar in bars]


def test_scored_blocks_are_drawn_and_no_others(report: DemoReport) -> None:
    plots = draw_plots(report, None)
    assert lines_of(plots["recall_at_20"]) == {"this run": [[1, 50], [2, 60]]}
    assert lines_of(plots["mrr_at_20"]) == {"this run": [[1, 15], [2, 15]]}


def test_the_papers_curves_stand_beside_the_blocks_that_ran(report: DemoReport) -> None:
    assert lines_of(draw_plots(report, DIGINETICA)["recall_at_20"]) == {
        "this run": [[1, 50], [2, 60]],
        "ADER (paper)": [[1, 49.45], [2, 50.79]],
        "fine-tuning (paper)": [[1, 46.3], [2, 47.95]],
    }


def test_bars_tell_new_items_training_and_publish_to_live(report: DemoReport) -> None:
    plots = draw_plots(report, None)
    assert bars_of(plots["new_item_share"]) == [(1, 18.25), (2, 9.5)]
    assert bars_of(plots["training_time"]) == [(0, 12.5), (1, 8.5)]
    assert bars_of(plots["publish_to_live"]) == [(0, 0.25)]


def test_every_title_says_that_clicks_are_simulated(report: DemoReport) -> None:
    plots = draw_plots(replace(report, simulated=True), None)
    assert set(plots) == NAMES
    assert all("simulated clicks" in axes_of(plot).get_title("left") for plot in plots.values())
    recorded = draw_plots(report, None).values()
    assert not any("simulated" in axes_of(plot).get_title("left") for plot in recorded)


def test_a_run_without_scores_says_so(report: DemoReport) -> None:
    plots = draw_plots(replace(report, blocks=report.blocks[:1]), DIGINETICA)
    for name in ("recall_at_20", "mrr_at_20", "new_item_share"):
        assert "nothing to show" in [text.get_text() for text in axes_of(plots[name]).texts]
        assert not axes_of(plots[name]).has_data()


def test_figures_become_png_and_svg(report: DemoReport) -> None:
    plot = draw_plots(report, None)["recall_at_20"]
    assert as_png(plot).startswith(b"\x89PNG")
    assert b"<svg" in as_svg(plot)
