"""The picture of `tests.benchmarks.long_run`: rate, memory and ended blocks over clicks."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from ader_stream.plotting import LIGHT

INCHES = (6.6, 4.2)
MILLION = 1_000_000

POINTS = 100
"""Of a curve, at most about so many: a rate is the mean since the point before."""

Points = list[tuple[float, float]]


def plot(result: dict[str, Any], to: Path) -> None:
    """Draw a result as SVG."""
    samples = result["samples"][:: max(1, len(result["samples"]) // POINTS)]
    panels = {
        "clicks per CPU second": rates(samples),
        "memory of the process, MiB": [(s["clicks"], s["resident_mib"]) for s in samples],
        "block ends written, all partitions": [(s["clicks"], s["block_ends"]) for s in samples],
    }
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "ader-stream"}):
        draw(panels).savefig(to, metadata={"Date": None})


def rates(samples: list[dict[str, Any]]) -> Points:
    """Clicks per CPU second between one sample and the next."""
    return [
        (two["clicks"], (two["clicks"] - one["clicks"]) / (two["cpu_seconds"] - one["cpu_seconds"]))
        for one, two in pairwise(samples)
        if two["clicks"] > one["clicks"]
    ]


def draw(panels: dict[str, Points]) -> Figure:
    """One panel above the other, all from zero on."""
    theme = LIGHT
    figure = Figure(INCHES, facecolor=theme.surface, layout=ConstrainedLayoutEngine())
    for axes, (title, points) in zip(
        figure.subplots(len(panels), sharex=True), panels.items(), strict=True
    ):
        clicks, values = zip(*points, strict=True)
        axes.plot([n / MILLION for n in clicks], values, color=theme.run, linewidth=1.6)
        axes.set_title(title, loc="left", color=theme.text, fontsize=9)
        axes.set_ylim(0, max(values) * 1.15)
        axes.yaxis.set_major_formatter("{x:,.0f}")
        axes.tick_params(colors=theme.muted, length=0, labelsize=8)
        axes.grid(axis="y", color=theme.grid)
        axes.set_axisbelow(True)
        axes.spines[:].set_visible(False)
    axes.set_xlabel("million clicks", color=theme.muted, fontsize=9)
    return figure
