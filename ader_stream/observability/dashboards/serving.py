"""From a version to an answer: versions served, swaps, latency, the error budgets."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from ader_stream.observability.dashboards.panels import (
    AnyPanel,
    Query,
    board,
    graph,
    per_second,
    with_panels,
)
from ader_stream.observability.objectives import OBJECTIVES, SLOW_SECONDS


def dashboard() -> Dashboard:
    """Return the dashboard of the inference workers."""
    made = board("serving", "Serving", "Versions served, swaps, latency, and the error budgets.")
    return with_panels(made, (*_requests(), *_versions()))


def _requests() -> list[AnyPanel]:
    quantiles = [
        Query(
            f"histogram_quantile({q}, sum by (le) (rate(ader_request_seconds_bucket"
            "{SELECTOR}[$__rate_interval])))",
            name,
        )
        for q, name in ((0.5, "median"), (0.95, "95th percentile"), (0.99, "99th percentile"))
    ]
    rates = [Query(f"{objective.record}1h{{SELECTOR}}", objective.what) for objective in OBJECTIVES]
    return [
        graph(
            "Requests by status",
            "Answers in a second.",
            [
                Query(
                    per_second("ader_requests_total", "status"),
                    "{{status}}",
                )
            ],
        ),
        graph(
            "Latency",
            f"Of /recommend; the objective is {SLOW_SECONDS * 1000:.0f} ms.",
            quantiles,
            unit="s",
        ),
        graph(
            "Bad requests of the last hour",
            "By objective: failed at most 0.1 %, slow at most 1 % of the requests in 30 days.",
            rates,
            unit="percentunit",
        ),
        graph(
            "Fallbacks",
            "Requests with unknown items only, in a second: answered with the most frequent items.",
            [
                Query(
                    per_second("ader_fallback_recommendations_total"),
                    "fallbacks",
                )
            ],
        ),
    ]


def _versions() -> list[AnyPanel]:
    return [
        graph(
            "Version served",
            "By worker.",
            [Query("max by (instance) (ader_version_served{SELECTOR})", "{{instance}}")],
        ),
        graph(
            "Version chosen, accepted and canary",
            "Chosen is what should be served; below accepted while a pin or rollback is in force.",
            [
                Query("max(ader_version_chosen{SELECTOR})", "chosen"),
                Query("max(ader_version_accepted{SELECTOR})", "accepted"),
                Query("max(ader_version_canary{SELECTOR})", "canary"),
            ],
        ),
        graph(
            "Age of the served version",
            "By worker.",
            [Query("max by (instance) (ader_served_model_age_seconds{SELECTOR})", "{{instance}}")],
            unit="s",
        ),
        graph(
            "Duration of a swap",
            "Fetching, checking and loading; mean since the worker started.",
            [
                Query(
                    "sum by (instance) (ader_swap_seconds_sum{SELECTOR}) "
                    "/ sum by (instance) (ader_swap_seconds_count{SELECTOR})",
                    "{{instance}}",
                )
            ],
            unit="s",
        ),
        graph(
            "From publishing to serving",
            "Of the last version, by worker.",
            [Query("max by (instance) (ader_publish_to_live_seconds{SELECTOR})", "{{instance}}")],
            unit="s",
        ),
        graph(
            "Refused versions",
            "In total, by reason. Nothing is shown before the first one.",
            [Query("sum by (reason) (ader_artifacts_refused_total{SELECTOR})", "{{reason}}")],
        ),
    ]
