"""Build panels and dashboards in one style: data source, variables, annotations, links."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import common as common_builders
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.builders import prometheus, stat, timeseries
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    LegendDisplayMode,
    LegendPlacement,
    TooltipDisplayMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    Threshold,
    ThresholdsMode,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

DATA_SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")

TAG = "ader-stream"
"""All dashboards have this tag; the links between them are by tag."""

OF_PIPELINE = 'prefix=~"$prefix"'
"""The selector of every query: the chosen pipelines."""

OF_VERSION = f'{OF_PIPELINE}, version=~"$version"'


AnyPanel = stat.Panel | timeseries.Panel


@dataclass(frozen=True)
class Query:
    """A query of a panel, and the name of its series.

    Parameters
    ----------
    expr
        PromQL; `SELECTOR` stands for the chosen pipelines.
    legend
        Grafana's format, such as ``{{partition}}``.
    """

    expr: str
    legend: str

    def build(self, ref: str) -> prometheus.Dataquery:
        """Return the query for Grafana, under a letter."""
        expr = self.expr.replace("VERSION", OF_VERSION).replace("SELECTOR", OF_PIPELINE)
        return prometheus.Dataquery().ref_id(ref).expr(expr).legend_format(self.legend).range()


def per_second(counter: str, by: str = "") -> str:
    """Return the query for how fast a counter rises, summed by labels."""
    return f"sum by ({by}) (rate({counter}{{SELECTOR}}[$__rate_interval]))"


@dataclass(frozen=True)
class Limits:
    """From which values on a number is yellow, and red; green before."""

    watch: float
    act: float

    def build(self) -> builders.ThresholdsConfig:
        """Return the thresholds for Grafana."""
        steps = [
            Threshold(value=None, color="green"),
            Threshold(value=self.watch, color="yellow"),
            Threshold(value=self.act, color="red"),
        ]
        return builders.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)


def number(
    title: str, description: str, query: Query, *, unit: str = "short", limits: Limits | None = None
) -> stat.Panel:
    """Return a panel with the present value, coloured by its limits."""
    panel = (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(DATA_SOURCE)
        .unit(unit)
        .span(4)
        .height(4)
        .graph_mode(BigValueGraphMode.AREA)
        .color_mode(BigValueColorMode.VALUE if limits else BigValueColorMode.NONE)
        .reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]))
        .with_target(query.build("A"))
    )
    return panel.thresholds(limits.build()) if limits else panel


def graph(
    title: str, description: str, queries: Sequence[Query], *, unit: str = "short", width: int = 8
) -> timeseries.Panel:
    """Return a panel with lines over time."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(DATA_SOURCE)
        .unit(unit)
        .span(width)
        .height(7)
        .min(0)
        .line_width(1)
        .fill_opacity(5)
        .legend(
            common_builders.VizLegendOptions()
            .display_mode(LegendDisplayMode.LIST)
            .placement(LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(common_builders.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
    )
    for ref, query in zip("ABCDEFGH", queries, strict=False):
        panel = panel.with_target(query.build(ref))
    return panel


def with_panels(dashboard: builders.Dashboard, panels: Iterable[AnyPanel]) -> builders.Dashboard:
    """Add panels to a dashboard, from left to right, each with a number."""
    for number_, panel in enumerate(panels, 1):
        dashboard = dashboard.with_panel(panel.id(number_))
    return dashboard


def board(
    name: str, title: str, description: str, *, by_version: bool = False
) -> builders.Dashboard:
    """Return a dashboard without panels.

    Parameters
    ----------
    name
        Part of its address: ``/d/ader-NAME``.
    by_version
        Whether there is a variable for the version.
    """
    dashboard = (
        builders.Dashboard(f"ader-stream: {title}")
        .uid(f"ader-{name}")
        .description(description)
        .tags([TAG])
        .timezone("browser")
        .readonly()
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .time("now-6h", "now")
        .refresh("30s")
        .link(_other_dashboards())
        .with_variable(
            builders.DatasourceVariable("datasource").label("Data source").type("prometheus")
        )
        .with_variable(_variable("prefix", "Pipeline", 'label_values(up{job=~"ader-.+"}, prefix)'))
    )
    if by_version:
        values = f"label_values(ader_prequential_targets_total{{{OF_PIPELINE}}}, version)"
        dashboard = dashboard.with_variable(_variable("version", "Version", values))
    for annotation in _boundaries():
        dashboard = dashboard.annotation(annotation)
    return dashboard


def _other_dashboards() -> builders.DashboardLink:
    return (
        builders.DashboardLink("ader-stream")
        .type(DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .as_dropdown(True)
        .include_vars(True)
        .keep_time(True)
    )


def _variable(name: str, label: str, query: str) -> builders.QueryVariable:
    """Return a variable with every value of a label, all of them by default.

    All is `.*`, so that a series without the label is shown too.
    """
    everything = VariableOption(selected=True, text="All", value="$__all")
    return (
        builders.QueryVariable(name)
        .label(label)
        .datasource(DATA_SOURCE)
        .query(query)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.NUMERICAL_DESC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(everything)
    )


BOUNDARIES = {
    "Block ends": (f"max by (prefix) (changes(ader_open_block{{{OF_PIPELINE}}}[1m])) > 0", "blue"),
    "Version served": (
        f"max by (prefix) (changes(ader_version_served{{{OF_PIPELINE}}}[1m])) > 0",
        "purple",
    ),
}
"""Annotation → the query that returns a series at its time, and its colour."""


def _boundaries() -> list[builders.AnnotationQuery]:
    return [
        builders.AnnotationQuery()
        .name(name)
        .datasource(DATA_SOURCE)
        .enable(True)
        .icon_color(color)
        .expr(query)
        for name, (query, color) in BOUNDARIES.items()
    ]
