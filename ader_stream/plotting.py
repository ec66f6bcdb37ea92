"""Plot scores by block or cycle; with matplotlib but without pyplot, so no global state changes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from ader_stream.paper_results import Published

WIDE_INCHES = (6.6, 3.7)
DOTS_PER_INCH = 200

LABELLED_POINTS = 8
"""Most points or bars with a value and a tick each; labels of more would overlap."""

Points = Sequence[tuple[int, float]]
"""(block, value), ascending."""

TITLES = {"recall@20": "Recall@20", "mrr@20": "MRR@20"}

CURVES = {
    "ader": ("s--", "ADER (paper)"),
    "joint": ("D-.", "joint (paper)"),
    "dropout": ("v--", "dropout (paper)"),
    "ewc": ("P-.", "EWC (paper)"),
    "finetune": ("^:", "fine-tuning (paper)"),
}
"""Method → line and name of its published curve."""


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours of a plot; `curves` by method."""

    surface: str
    text: str
    muted: str
    grid: str
    run: str
    curves: Mapping[str, str]


LIGHT = Theme(
    *("#ffffff", "#1b2430", "#667085", "#e7eaf0", "#2459d6"),
    curves={
        "ader": "#c2700f",
        "joint": "#2e8b57",
        "dropout": "#8e5bb5",
        "ewc": "#b5485d",
        "finetune": "#8792a5",
    },
)
DARK = Theme(
    *("#161b22", "#e8ecf3", "#9aa4b5", "#2b323d", "#7ea6ff"),
    curves={
        "ader": "#f0b35e",
        "joint": "#63c08f",
        "dropout": "#c39be3",
        "ewc": "#e58497",
        "finetune": "#8792a5",
    },
)


def score_plot(
    scores: Points,
    metric: str,
    published: Published | None,
    methods: Sequence[str],
    theme: Theme = LIGHT,
    note: str = "",
    across: str = "block",
    label: str = "this run",
) -> Figure:
    """Plot a run's scores together with published curves.

    Parameters
    ----------
    scores
        (block, percent) of the run.
    metric
        ``recall@20`` or ``mrr@20``.
    published, methods
        The paper's results, and the methods of the curves to show; None where there are none.
    theme
        Colours.
    note
        Added to the title.
    across
        Name of the x-axis.
    label
        Name of the run.
    """
    figure, axes = empty_plot(WIDE_INCHES, TITLES[metric] + note, "%", across, theme)
    if not scores:
        say_empty(axes, theme)
        return figure
    blocks, values = zip(*scores, strict=True)
    axes.plot(blocks, values, "o-", color=theme.run, linewidth=2.4, label=label, zorder=3)
    set_ticks(axes, blocks)
    if published:
        for method in methods:
            _draw_curve(axes, published.curves[method][metric][: blocks[-1]], method, theme)
        _add_legend(axes, theme)
    elif len(scores) <= LABELLED_POINTS:
        _label_points(axes, scores, theme)
    axes.margins(x=0.06, y=0.2)
    return figure


def _draw_curve(axes: Axes, curve: Sequence[float], method: str, theme: Theme) -> None:
    """Draw a published curve; cycle t was tested on block t. Leave out blocks that did not run."""
    style, label = CURVES[method]
    cycles = range(1, len(curve) + 1)
    axes.plot(cycles, curve, style, color=theme.curves[method], markersize=5, label=label)


def as_png(figure: Figure) -> bytes:
    """Return a figure as PNG."""
    return _saved(figure, "png")


def as_svg(figure: Figure) -> bytes:
    """Return a figure as SVG; letters are outlines, so it looks the same everywhere."""
    return _saved(figure, "svg")


def _saved(figure: Figure, format_: str) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=format_, dpi=DOTS_PER_INCH)
    return buffer.getvalue()


def empty_plot(
    size: tuple[float, float], title: str, unit: str, across: str, theme: Theme
) -> tuple[Figure, Axes]:
    """Return axes with title, unit and the name of the x-axis."""
    figure = Figure(
        figsize=size, facecolor=theme.surface, layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1)
    )
    axes = figure.add_subplot(facecolor=theme.surface)
    axes.set_title(title, loc="left", color=theme.text, fontsize=12, fontweight="bold", pad=22)
    axes.text(0, 1.02, unit, transform=axes.transAxes, color=theme.muted, fontsize=9, va="bottom")
    axes.set_xlabel(across, color=theme.muted, fontsize=9)
    axes.tick_params(colors=theme.muted, length=0, labelsize=9)
    axes.grid(axis="y", color=theme.grid)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    return figure, axes


def set_ticks(axes: Axes, blocks: Sequence[int]) -> None:
    """Set a tick for every block, or as many as fit."""
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


def say_empty(axes: Axes, theme: Theme) -> None:
    """Write that there is nothing to show."""
    axes.text(0.5, 0.5, "nothing to show", transform=axes.transAxes, color=theme.muted, ha="center")
    axes.set(xticks=[], yticks=[], xlabel="")
