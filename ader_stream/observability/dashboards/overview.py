"""Is it well? One screen."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from ader_stream.observability.dashboards.panels import (
    AnyPanel,
    Limits,
    Query,
    board,
    graph,
    number,
    per_second,
    with_panels,
)


def dashboard() -> Dashboard:
    """Return the dashboard: a number and a line for each part of the system."""
    made = board("overview", "Overview", "Is it well? One number for each part of the system.")
    return with_panels(made, (*_numbers(), *_model_numbers(), *_lines()))


def _numbers() -> list[AnyPanel]:
    return [
        number(
            "Alerts that fire",
            "Pages and tickets; Alertmanager may mute some.",
            Query('sum(ALERTS{alertstate="firing", SELECTOR}) or vector(0)', "alerts"),
            limits=Limits(1, 3),
        ),
        number(
            "Workers that answer",
            "Share of the workers that Prometheus could scrape.",
            Query('avg(up{job=~"ader-.+", SELECTOR})', "workers"),
            unit="percentunit",
        ),
        number(
            "Lag",
            "Time between the newest click and the last one that was read; the slower worker.",
            Query("max(ader_lag_seconds{SELECTOR})", "lag"),
            unit="s",
            limits=Limits(60, 900),
        ),
        number(
            "Blocks that wait",
            "Complete blocks that are not trained on yet.",
            Query("max(ader_blocks_waiting{SELECTOR})", "blocks"),
            limits=Limits(2, 3),
        ),
    ]


def _model_numbers() -> list[AnyPanel]:
    return [
        number(
            "Age of the model",
            "Of the oldest one served, in blocks.",
            Query(
                "max(ader_served_model_age_seconds{SELECTOR}) / max(ader_block_seconds{SELECTOR})",
                "blocks",
            ),
            limits=Limits(1.5, 2),
        ),
        number(
            "Recall@20",
            "Prequential, of the clicks of the last 15 minutes.",
            Query(
                'sum(rate(ader_prequential_hits_total{k="20", SELECTOR}[15m])) '
                "/ sum(rate(ader_prequential_targets_total{SELECTOR}[15m]))",
                "recall",
            ),
            unit="percentunit",
        ),
    ]


def _lines() -> list[AnyPanel]:
    return [
        graph(
            "Clicks",
            "Read, refused and late, in a second.",
            [
                Query(per_second("ader_clicks_total"), "read"),
                Query(
                    per_second("ader_dead_letters_total") + " or vector(0)",
                    "refused",
                ),
                Query(per_second("ader_late_clicks_total"), "late"),
            ],
        ),
        graph(
            "Versions",
            "A version that stays below the one published was rejected, pinned or not loaded.",
            [
                Query("max(ader_version_published{SELECTOR})", "published"),
                Query("max(ader_version_served{SELECTOR})", "newest served"),
                Query("min(ader_version_served{SELECTOR})", "oldest served"),
            ],
        ),
        graph(
            "Requests",
            "Answers in a second, by status.",
            [
                Query(
                    per_second("ader_requests_total", "status"),
                    "{{status}}",
                )
            ],
        ),
    ]
