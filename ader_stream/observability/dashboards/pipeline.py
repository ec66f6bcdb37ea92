"""Clicks in, sessions out: lag, event time, refused clicks, commits, clients of Kafka."""

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


def dashboard() -> Dashboard:
    """Return the dashboard of sessionizer and input."""
    made = board("pipeline", "Pipeline", "From a click to a session: input, event time, commits.")
    return with_panels(made, (*_reading(), *_admission(), *_sessions(), *_commits()))


def _reading() -> list[AnyPanel]:
    return [
        graph(
            "Clicks by partition",
            "Read in a second.",
            [Query(per_second("ader_clicks_total", "partition"), "{{partition}}")],
        ),
        graph(
            "Lag in time",
            "From the last record that was read to the newest one.",
            [
                Query(
                    "max by (worker, partition) (ader_lag_seconds{SELECTOR})",
                    "{{worker}} {{partition}}",
                )
            ],
            unit="s",
        ),
        graph(
            "Lag in records",
            "Not yet read.",
            [
                Query(
                    "max by (worker, partition) (ader_lag_records{SELECTOR})",
                    "{{worker}} {{partition}}",
                )
            ],
        ),
    ]


def _admission() -> list[AnyPanel]:
    return [
        graph(
            "Dead letters by reason",
            "In a second.",
            [Query(per_second("ader_dead_letters_total", "reason"), "{{reason}}")],
        ),
        graph(
            "Late, duplicate and quarantined clicks",
            "Late and duplicate ones in a second; quarantined ones now.",
            [
                Query(per_second("ader_late_clicks_total"), "late"),
                Query(per_second("ader_duplicate_clicks_total"), "duplicate"),
                Query("sum(ader_held_clicks{SELECTOR})", "quarantined"),
            ],
        ),
        graph(
            "Watermark behind the clock",
            "By partition. A partition without clicks follows the others.",
            [
                Query(
                    "time() - max by (partition) (ader_watermark_seconds{SELECTOR})",
                    "{{partition}}",
                )
            ],
            unit="s",
        ),
    ]


def _sessions() -> list[AnyPanel]:
    return [
        graph(
            "Sessions",
            "Closed in a second.",
            [Query(per_second("ader_sessions_total"), "closed")],
        ),
        graph(
            "Open sessions",
            "By partition.",
            [Query("max by (partition) (ader_open_sessions{SELECTOR})", "{{partition}}")],
        ),
        graph(
            "Open block",
            "Its number, by partition: a partition that stays behind holds up the trainer.",
            [Query("max by (partition) (ader_open_block{SELECTOR})", "{{partition}}")],
        ),
    ]


def _commits() -> list[AnyPanel]:
    return [
        graph(
            "Time without a commit that is due",
            "By worker; 0 if everything is committed.",
            [
                Query(
                    "max by (worker, instance) (ader_uncommitted_seconds{SELECTOR})",
                    "{{worker}} {{instance}}",
                )
            ],
            unit="s",
        ),
        graph(
            "Failed commits by reason",
            "In a second. A rebalance makes one or two. Nothing is shown before the first one.",
            [
                Query(
                    per_second("ader_commit_failures_total", "worker, reason"),
                    "{{worker}} {{reason}}",
                )
            ],
        ),
        graph(
            "Connected to the brokers",
            "1 if each client of a worker that needs a broker is connected to it.",
            [
                Query(
                    "min by (worker, client, broker) (ader_kafka_connected{SELECTOR})",
                    "{{worker}} {{client}} {{broker}}",
                )
            ],
        ),
    ]
