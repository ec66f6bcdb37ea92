"""Alerts of the last day, asked of Prometheus: what fires, what has fired, and where to read on."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from ader_stream.errors import PrometheusError

ANSWER_SECONDS = 5.0

MOST_BYTES = 20_000_000
"""Most bytes of an answer: some thousand alerts."""

FIRING, PENDING, RESOLVED = "firing", "pending", "resolved"
"""States of an alert, see `ShownAlert.state`."""

LAST_FIRED = 'max_over_time(timestamp(ALERTS{alertstate="firing",alertname=~"Ader.+"})[1d:15s])'
"""Seconds since 1970 at which each alert has last fired, within a day."""


@dataclass(frozen=True)
class ShownAlert:
    """An alert that fires, will fire if it lasts, or has fired within a day.

    Parameters
    ----------
    labels
        What it is about: all labels but the name, severity, component and prefix.
    state
        ``firing``, ``pending`` or ``resolved``.
    since
        Time at which it became active, or has last fired if it is resolved; s since 1970.
    """

    name: str
    severity: str
    labels: Mapping[str, str]
    state: str
    since: float
    summary: str
    runbook: str


class Prometheus:
    """The alerts that a Prometheus evaluates for one system.

    Parameters
    ----------
    url
        Its address, such as http://localhost:9090.
    prefix
        Of the system's topics: a label of its series.
    """

    def __init__(self, url: str, prefix: str) -> None:
        self._url = url.rstrip("/")
        self._prefix = prefix

    def alerts(self) -> list[ShownAlert]:
        """Return the alerts: firing before pending before resolved ones, the newest first.

        Raises
        ------
        PrometheusError
            If it does not answer, or not as Prometheus does.
        """
        rules = self._asked("rules", type="alert")
        fired = self._asked("query", query=LAST_FIRED)
        try:
            active = [*self._active(_rules(rules))]
            shown = [*active, *self._resolved(_rules(rules), fired["result"], active)]
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise PrometheusError(
                f"{self._url} answers, but not as Prometheus does ({error!r}); see "
                "monitor.prometheus"
            ) from error
        order = (FIRING, PENDING, RESOLVED)
        return sorted(shown, key=lambda alert: (order.index(alert.state), -alert.since))

    def _asked(self, path: str, **parameters: str) -> dict[str, Any]:
        url = f"{self._url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=ANSWER_SECONDS) as response:  # noqa: S310
                answer = json.loads(response.read(MOST_BYTES))
                return dict(answer["data"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise PrometheusError(
                f"Prometheus does not answer at {self._url} ({error}); see monitor.prometheus"
            ) from error

    def _active(self, rules: Iterable[dict[str, Any]]) -> Iterator[ShownAlert]:
        for rule in rules:
            for alert in rule["alerts"]:
                if self._is_ours(alert["labels"]):
                    since = datetime.fromisoformat(alert["activeAt"].replace("Z", "+00:00"))
                    annotations = alert["annotations"]
                    yield _shown(alert["labels"], alert["state"], since.timestamp(), annotations)

    def _resolved(
        self,
        rules: Iterable[dict[str, Any]],
        fired: Iterable[dict[str, Any]],
        active: Iterable[ShownAlert],
    ) -> Iterator[ShownAlert]:
        """Yield the alerts that have fired and are not active; each series once."""
        runbooks = {rule["name"]: rule["annotations"].get("runbook_url", "") for rule in rules}
        known = {_key(alert) for alert in active}
        for series in fired:
            labels = {k: v for k, v in series["metric"].items() if k != "alertstate"}
            if not self._is_ours(labels):
                continue
            annotations = {"runbook_url": runbooks.get(labels["alertname"], "")}
            alert = _shown(labels, RESOLVED, float(series["value"][1]), annotations)
            if _key(alert) not in known:
                yield alert

    def _is_ours(self, labels: Mapping[str, str]) -> bool:
        named_ours = labels["alertname"].startswith("Ader")
        return named_ours and labels.get("prefix", self._prefix) == self._prefix


def alerts_json(prometheus: Prometheus | None) -> dict[str, Any]:
    """Return the alerts as JSON values; without a Prometheus, what to do.

    Raises
    ------
    PrometheusError
        See `Prometheus.alerts`.
    """
    if prometheus is None:
        return {"alerts": None, "reason": "set monitor.prometheus to show alerts here"}
    return {"alerts": [asdict(alert) for alert in prometheus.alerts()], "reason": ""}


def _rules(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [rule for group in answer["groups"] for rule in group["rules"]]


def _shown(
    labels: Mapping[str, str], state: str, since: float, annotations: Mapping[str, str]
) -> ShownAlert:
    known = ("alertname", "severity", "component", "prefix")
    return ShownAlert(
        labels["alertname"],
        labels.get("severity", ""),
        {name: value for name, value in labels.items() if name not in known},
        state,
        since,
        annotations.get("summary", ""),
        annotations.get("runbook_url", ""),
    )


def _key(alert: ShownAlert) -> tuple[str, str, frozenset[tuple[str, str]]]:
    return alert.name, alert.severity, frozenset(alert.labels.items())
