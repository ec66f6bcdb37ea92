"""How good recommendations are, and how what is clicked changes."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from ader_stream.observability.dashboards.panels import AnyPanel, Query, board, graph, with_panels

OF_K20 = 'k="20", VERSION'


def dashboard() -> Dashboard:
    """Return the dashboard of quality and drift."""
    made = board(
        "quality",
        "Recommendation quality and drift",
        "Each click is first predicted, then learned from (prequential): by version and block.",
        by_version=True,
    )
    return with_panels(made, (*_quality(), *_scored_clicks(), *_canary(), *_drift()))


def _by(label: str, part: str, whole: str) -> str:
    return f"sum by ({label}) (rate({part}[15m])) / sum by ({label}) (rate({whole}[15m]))"


def _quality() -> list[AnyPanel]:
    hits = f"ader_prequential_hits_total{{{OF_K20}}}"
    ranks = f"ader_prequential_reciprocal_ranks_total{{{OF_K20}}}"
    targets = "ader_prequential_targets_total{VERSION}"
    return [
        graph(
            "Recall@20 by version",
            "Share of the clicks that were among the 20 recommended items, 15 minutes.",
            [Query(_by("version", hits, targets), "version {{version}}")],
            unit="percentunit",
        ),
        graph(
            "MRR@20 by version",
            "Mean of 1 / rank of the clicked item, 0 above 20; 15 minutes.",
            [Query(_by("version", ranks, targets), "version {{version}}")],
            unit="percentunit",
        ),
        graph(
            "Recall@20 by block",
            "Of all clicks of a block that these workers scored.",
            [
                Query(
                    f"sum by (block) ({hits}) / sum by (block) ({targets})",
                    "block {{block}}",
                )
            ],
            unit="percentunit",
        ),
    ]


def _scored_clicks() -> list[AnyPanel]:
    targets = "ader_prequential_targets_total{VERSION}"
    unknown = "ader_prequential_unknown_items_total{VERSION}"
    return [
        graph(
            "Clicks on unknown items",
            "Share of the clicks on items that the scoring version does not know, 15 minutes.",
            [
                Query(
                    f"sum(rate({unknown}[15m])) / (sum(rate({unknown}[15m]))"
                    f" + sum(rate({targets}[15m])))",
                    "unknown",
                )
            ],
            unit="percentunit",
        ),
        graph(
            "Scored clicks by version",
            "In a second.",
            [Query(f"sum by (version) (rate({targets}[$__rate_interval]))", "version {{version}}")],
        ),
    ]


def _canary() -> list[AnyPanel]:
    return [
        graph(
            "Canary minus stable version, Recall@20",
            "On the same clicks: estimate, and bounds that hold at any time. Without a canary, "
            "nothing is shown.",
            [
                Query(
                    "max by (bound) (ader_canary_recall20_difference_ratio{SELECTOR})", "{{bound}}"
                )
            ],
            unit="percentunit",
        ),
    ]


def _drift() -> list[AnyPanel]:
    return [
        graph(
            "Signals that ask for attention",
            "1 for each drift signal in the state watch or act; needs the monitor.",
            [
                Query(
                    "max by (signal, scope, state) "
                    '(ader_drift_state{state=~"watch|act", SELECTOR})',
                    "{{signal}}, {{scope}}: {{state}}",
                )
            ],
        ),
        graph(
            "Drift signals of the last complete block",
            "The monitor judges each by the spread between earlier blocks.",
            [Query('max by (signal) (ader_drift_signal{scope="block", SELECTOR})', "{{signal}}")],
        ),
        graph(
            "Recall@20 by role",
            "Of the kept blocks, with bounds at 95 %: served, previous and canary.",
            [
                Query(
                    "max by (role, bound) (ader_monitored_recall20_ratio{SELECTOR})",
                    "{{role}}, {{bound}}",
                )
            ],
            unit="percentunit",
        ),
    ]
