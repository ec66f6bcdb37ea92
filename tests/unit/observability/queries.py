"""What a PromQL query names, compared with the catalogue of metrics."""

from __future__ import annotations

from collections.abc import Iterator, Set
from typing import Any

import promql_parser as promql
from prometheus_client import Histogram

from ader_stream.metrics import CATALOGUE

OF_TARGETS = {"job", "worker", "instance", "prefix"}
"""Labels that the scrape configuration gives to every series."""

OF_PROMETHEUS = {
    "up": set[str](),
    "process_start_time_seconds": set[str](),
    "ALERTS": {"alertname", "alertstate", "severity", "component"},
}
"""Series that are not ours: of the scrape, of prometheus-client, and of alerting."""


def labels_by_name() -> dict[str, set[str]]:
    """Return each series of the catalogue, with its labels."""
    series = {metric.name: {*metric.labels} for metric in CATALOGUE}
    for metric in CATALOGUE:
        if metric.kind is Histogram:
            series |= {f"{metric.name}_{end}": {*metric.labels} for end in ("count", "sum")}
            series[f"{metric.name}_bucket"] = {*metric.labels, "le"}
    return series | OF_PROMETHEUS


def faults_of(query: str, recorded: Set[str]) -> list[str]:
    """Return what a query names that does not exist; raise ValueError if it does not parse."""
    tree, known = promql.parse(query), labels_by_name()
    selectors = [node for node in nodes(tree) if isinstance(node, promql.VectorSelector)]
    allowed = set(OF_TARGETS)
    faults = []
    for selector in selectors:
        if selector.name in recorded:
            allowed |= set(selector.name.partition(":")[0].split("_"))
        elif selector.name not in known:
            faults.append(f"{selector.name} is no metric")
        else:
            allowed |= known[selector.name]
            faults += [
                f"{selector.name} has no label {matcher.name}"
                for matcher in selector.matchers.matchers
                if matcher.name not in known[selector.name] | OF_TARGETS
            ]
    grouped = {label for node in nodes(tree) for label in grouping_of(node)}
    return faults + [f"no metric has the label {label}" for label in sorted(grouped - allowed)]


def nodes(node: Any) -> Iterator[Any]:
    """Yield a node of the syntax tree and all below it."""
    yield node
    for name in ("lhs", "rhs", "expr", "param", "vector_selector", "args"):
        below = getattr(node, name, None)
        for each in below if isinstance(below, list) else [below]:
            if isinstance(each, promql.Expr):
                yield from nodes(each)


def grouping_of(node: Any) -> Iterator[str]:
    """Yield the labels by which a node aggregates or matches."""
    modifier = getattr(node, "modifier", None)
    if isinstance(node, promql.AggregateExpr) and modifier:
        yield from modifier.labels
    if isinstance(node, promql.BinaryExpr) and modifier and modifier.matching:
        yield from modifier.matching.labels
