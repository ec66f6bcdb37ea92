"""Draw the plots of the demo's report."""

from __future__ import annotations

from collections.abc import Iterable

from matplotlib.figure import Figure

from ader_stream.demo.report import DemoReport
from ader_stream.paper_results import Published
from ader_stream.plotting import (
    LABELLED_POINTS,
    LIGHT,
    Points,
    Theme,
    empty_plot,
    say_empty,
    score_plot,
    set_ticks,
)

SMALL_INCHES = (4.6, 3.0)

BASELINES = ("ader", "finetune")
"""The best and the worst of the paper's curves, as the range to compare a run with."""


def draw_plots(
    report: DemoReport, published: Published | None, theme: Theme = LIGHT
) -> dict[str, Figure]:
    """Draw every plot of a report; return them by file name without suffix.

    Parameters
    ----------
    report
        Report to show; every title says if the clicks are simulated.
    published
        Curves of the paper for comparison; None without them.
    theme
        Colours.
    """
    updates = [(block.block, block.update) for block in report.blocks if block.update]
    recall = _points((block.block, block.score("recall@20")) for block in report.blocks)
    mrr = _points((block.block, block.score("mrr@20")) for block in report.blocks)
    shares = _points((block.block, block.new_item_share) for block in report.blocks)
    training = [(block, update.train_seconds) for block, update in updates]
    live = _points((block, update.publish_to_live_seconds) for block, update in updates)
    kind = " (simulated clicks)" if report.simulated else ""
    return {
        "recall_at_20": score_plot(recall, "recall@20", published, BASELINES, theme, kind),
        "mrr_at_20": score_plot(mrr, "mrr@20", published, BASELINES, theme, kind),
        "new_item_share": _bar_plot(shares, f"New items{kind}", "% of the block's clicks", theme),
        "training_time": _bar_plot(training, f"Training{kind}", "seconds", theme),
        "publish_to_live": _bar_plot(live, f"Publish to live{kind}", "seconds", theme),
    }


def _bar_plot(points: Points, title: str, unit: str, theme: Theme) -> Figure:
    figure, axes = empty_plot(SMALL_INCHES, title, unit, "block", theme)
    if not points:
        say_empty(axes, theme)
        return figure
    blocks, values = zip(*points, strict=True)
    bars = axes.bar(blocks, values, width=0.62, color=theme.run)
    set_ticks(axes, blocks)
    if len(points) <= LABELLED_POINTS:
        axes.bar_label(bars, fmt="{:.3g}", padding=3, color=theme.muted, fontsize=9)
    axes.margins(y=0.16)
    return figure


def _points(pairs: Iterable[tuple[int, float | None]]) -> Points:
    return [(block, value) for block, value in pairs if value is not None]
