"""Write the configuration of Alertmanager: grouping, and which alert mutes which.

Where messages are sent is the operator's: the receivers have names and no address.
"""

from __future__ import annotations

from typing import Any

from ader_stream.observability.rule import Alert, Component, Severity
from ader_stream.observability.rules_file import ALERTS, as_yaml


def alertmanager_yaml() -> str:
    """Return the configuration."""
    return as_yaml(
        {
            "route": _route(),
            "receivers": [{"name": severity.value} for severity in Severity],
            "inhibit_rules": _inhibitions(),
        }
    )


def _route() -> dict[str, Any]:
    """Return the route: one message for the alerts of a pipeline's component."""
    page = {
        "matchers": [_is("severity", Severity.PAGE.value)],
        "receiver": Severity.PAGE.value,
        "group_wait": "30s",
        "repeat_interval": "4h",
    }
    return {
        "receiver": Severity.TICKET.value,
        "group_by": ["prefix", "component", "severity"],
        "group_wait": "5m",
        "group_interval": "5m",
        "repeat_interval": "3d",
        "routes": [page],
    }


def _inhibitions() -> list[dict[str, Any]]:
    """Return which alerts mute which others of the same pipeline."""
    page, ticket = _is("severity", Severity.PAGE.value), _is("severity", Severity.TICKET.value)
    pipeline = _is("component", Component.PIPELINE.value)
    quality = _is("component", Component.QUALITY.value)
    covering = {alert.name: alert for alert in ALERTS if alert.covers}
    return [
        {
            "source_matchers": [pipeline, page],
            "target_matchers": [quality],
            "equal": ["prefix"],
        },
        {
            "source_matchers": [page],
            "target_matchers": [ticket],
            "equal": ["prefix", "alertname"],
        },
        *map(_covered, covering.values()),
    ]


def _covered(alert: Alert) -> dict[str, Any]:
    return {
        "source_matchers": [_is("alertname", alert.name)],
        "target_matchers": [f'alertname =~ "{"|".join(alert.covers)}"'],
        "equal": ["prefix"],
    }


def _is(label: str, value: str) -> str:
    return f'{label} = "{value}"'
