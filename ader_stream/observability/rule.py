"""The parts of a rule: what Prometheus evaluates, and what an alert says and where it leads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class Severity(Enum):
    """How soon somebody must look."""

    PAGE = "page"
    """Now, at any hour: visitors are affected, or soon will be."""
    TICKET = "ticket"
    """In working hours."""


class Component(Enum):
    """The part of the system that an alert is about; also the name of its dashboard."""

    PIPELINE = "pipeline"
    TRAINING = "training"
    SERVING = "serving"
    QUALITY = "quality"


@dataclass(frozen=True)
class Recording:
    """A recording rule: a query whose result is stored under a name.

    Parameters
    ----------
    name
        ``LABELS:METRIC:OPERATION``, as the Prometheus documentation recommends.
    query
        PromQL.
    """

    name: str
    query: str


@dataclass(frozen=True)
class Alert:
    """An alerting rule.

    Parameters
    ----------
    name
        Also the heading of its section in the runbook. Several rules may share a name, with
        different severities or labels.
    query
        PromQL; the alert is active for each series that it returns.
    hold
        Time for which the query must return the series before the alert fires.
    summary
        One line. May hold Prometheus' templates, such as ``{{ $labels.partition }}``.
    description
        What is measured, with values and the limit.
    labels
        In addition to severity and component.
    covers
        Alerts of the same pipeline that this one makes superfluous: Alertmanager mutes them while
        this one fires.
    """

    name: str
    severity: Severity
    component: Component
    query: str
    hold: str
    summary: str
    description: str
    labels: Mapping[str, str] = field(default_factory=dict)
    covers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Group:
    """Rules that Prometheus evaluates one after the other, at the same time."""

    name: str
    rules: tuple[Recording | Alert, ...]

    @property
    def alerts(self) -> tuple[Alert, ...]:
        """Return the alerting rules."""
        return tuple(rule for rule in self.rules if isinstance(rule, Alert))


@dataclass(frozen=True)
class Links:
    """Where the links of an alert lead.

    Parameters
    ----------
    grafana
        Address of Grafana.
    runbook
        Address of the runbook's page, without anchor.
    """

    grafana: str = "http://localhost:3000"
    runbook: str = "http://localhost:8000/guides/runbook.html"

    def dashboard_of(self, alert: Alert) -> str:
        """Return the address of the dashboard that shows an alert's component."""
        return f"{self.grafana}/d/ader-{alert.component.value}?var-prefix={{{{ $labels.prefix }}}}"

    def runbook_of(self, alert: Alert) -> str:
        """Return the address of an alert's section in the runbook."""
        return f"{self.runbook}#{alert.name.lower()}"
