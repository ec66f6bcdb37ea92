"""The plots of a report; matplotlib without pyplot, so nothing global is touched."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from ader_stream.demo.published import PublishedCurves
from ader_stream.demo.report import DemoReport

WIDE_INCHES = (6.6, 3.7)
SMALL_INCHES = (4.6, 3.0)
DOTS_PER_INCH = 200

LABELLED_POINTS = 8
"""Up to so many points and bars carry their value and a tick each; more would collide."""

Points = Sequence[tuple[int, float]]
"""(block, value), ascending."""


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours of a plot."""

    surface: str
    text: str
    muted: str
    grid: str
    run: str
    ader: str
    finetune: str


LIGHT = Theme("#ffffff", "#1b2430", "#667085", "#e7eaf0", "#2459d6", "#c2700f", "#8792a5")
DARK = Theme("#161b22", "#e8ecf3", "#9aa4b5", "#2b323d", "#7ea6ff", "#f0b35e", "#8792a5")


def draw_plots(
    report: DemoReport, published: PublishedCurves | None, theme: Theme = LIGHT
) -> dict[str, Figure]:
    """Every plot of a report, by file name without suffix.

    Parameters
    ----------
    report
        What to show; every title says so where the clicks are simulated.
    published
        Curves of the paper to put beside it; None where there are none.
    theme
        Colours.
    """
    updates = [(block.block, block.update) for block in report.blocks if block.update]
    shares = _points((block.block, block.new_item_share) for block in report.blocks)
    training = [(block, update.train_seconds) for block, update in updates]
    live = _points((block, update.publish_to_live_seconds) for block, update in updates)
    kind = " (simulated clicks)" if report.simulated else ""
    return {
        "recall_at_20": _score_plot(report, "recall@20", f"Recall@20{kind}", published, theme),
        "mrr_at_20": _score_plot(report, "mrr@20", f"MRR@20{kind}", published, theme),
        "new_item_share": _bar_plot(shares, f"New items{kind}", "% of the block's clicks", theme),
        "training_time": _bar_plot(training, f"Training{kind}", "seconds", theme),
        "publish_to_live": _bar_plot(live, f"Publish to live{kind}", "seconds", theme),
    }


def as_png(figure: Figure) -> bytes:
    """A figure as PNG."""
    return _saved(figure, "png")


def as_svg(figure: Figure) -> bytes:
    """A figure as SVG; letters are outlines, so it looks the same everywhere."""
    return _saved(figure, "svg")


def _saved(figure: Figure, format_: str) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=format_, dpi=DOTS_PER_INCH)
    return buffer.getvalue()


def _score_plot(
    report: DemoReport,
    metric: str,
    title: str,
    published: PublishedCurves | None,
    theme: Theme,
) -> Figure:
    figure, axes = _empty_plot(WIDE_INCHES, title, "%", theme)
    scores = _points((block.block, block.score(metric)) for block in report.blocks)
    if not scores:
        _say_empty(axes, theme)
        return figure
    blocks, values = zip(*scores, strict=True)
    axes.plot(blocks, values, "o-", color=theme.run, linewidth=2.4, label="this run", zorder=3)
    _set_ticks(axes, blocks)
    if published:
        _draw_published(axes, published, metric, blocks[-1], theme)
        _add_legend(axes, theme)
    elif len(scores) <= LABELLED_POINTS:
        _label_points(axes, scores, theme)
    axes.margins(x=0.06, y=0.2)
    return figure


def _draw_published(
    axes: Axes, published: PublishedCurves, metric: str, last: int, theme: Theme
) -> None:
    """The paper's cycle t was tested on block t; blocks that did not run are left out."""
    ader, finetune = published.ader[metric][:last], published.finetune[metric][:last]
    cycles = range(1, len(ader) + 1)
    axes.plot(cycles, ader, "s--", color=theme.ader, markersize=5, label="ADER (paper)")
    axes.plot(
        cycles, finetune, "^:", color=theme.finetune, markersize=5, label="fine-tuning (paper)"
    )


def _bar_plot(points: Points, title: str, unit: str, theme: Theme) -> Figure:
    figure, axes = _empty_plot(SMALL_INCHES, title, unit, theme)
    if not points:
        _say_empty(axes, theme)
        return figure
    blocks, values = zip(*points, strict=True)
    bars = axes.bar(blocks, values, width=0.62, color=theme.run)
    _set_ticks(axes, blocks)
    if len(points) <= LABELLED_POINTS:
        axes.bar_label(bars, fmt="{:.3g}", padding=3, color=theme.muted, fontsize=9)
    axes.margins(y=0.16)
    return figure


def _empty_plot(
    size: tuple[float, float], title: str, unit: str, theme: Theme
) -> tuple[Figure, Axes]:
    figure = Figure(
        figsize=size, facecolor=theme.surface, layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1)
    )
    axes = figure.add_subplot(facecolor=theme.surface)
    axes.set_title(title, loc="left", color=theme.text, fontsize=12, fontweight="bold", pad=22)
    axes.text(0, 1.02, unit, transform=axes.transAxes, color=theme.muted, fontsize=9, va="bottom")
    axes.set_xlabel("block", color=theme.muted, fontsize=9)
    axes.tick_params(colors=theme.muted, length=0, labelsize=9)
    axes.grid(axis="y", color=theme.grid)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    return figure, axes


def _set_ticks(axes: Axes, blocks: Sequence[int]) -> None:
    if len(blocks) <= LABELLED_POINTS:
        axes.set_xticks(blocks)
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _label_points(axes: Axes, points: Points, theme: Theme) -> None:
    for block, value in points:
        axes.annotate(
            f"{value:.1f}",
            (block, value),
            xytext=(0, 8),
            textcoords="offset points",
            color=theme.muted,
            fontsize=9,
            ha="center",
            path_effects=[withStroke(linewidth=3, foreground=theme.surface)],  # over the line
            zorder=4,
        )


def _add_legend(axes: Axes, theme: Theme) -> None:
    axes.legend(
        loc="lower right",
        bbox_to_anchor=(1, 1),
        ncols=3,
        frameon=False,
        labelcolor=theme.text,
        fontsize=9,
        borderaxespad=0.1,
    )


def _say_empty(axes: Axes, theme: Theme) -> None:
    axes.text(0.5, 0.5, "nothing to show", transform=axes.transAxes, color=theme.muted, ha="center")
    axes.set(xticks=[], yticks=[], xlabel="")


def _points(pairs: Iterable[tuple[int, float | None]]) -> Points:
    return [(block, value) for block, value in pairs if value is not None]
