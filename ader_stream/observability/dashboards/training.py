"""From a block to a version: backlog, the running cycle, the gate."""

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
    """Return the dashboard of the trainer."""
    made = board("training", "Training", "From a block to a version: backlog, cycles, the gate.")
    return with_panels(made, (*_cycles(), *_versions()))


def _cycles() -> list[AnyPanel]:
    return [
        graph(
            "Blocks that wait",
            "Complete, and not trained on yet.",
            [Query("max(ader_blocks_waiting{SELECTOR})", "blocks")],
        ),
        graph(
            "Duration of a cycle and of a block",
            "If a cycle takes longer than a block, the backlog grows.",
            [
                Query("max(ader_cycle_seconds{SELECTOR})", "cycle"),
                Query("max(ader_block_seconds{SELECTOR})", "block"),
            ],
            unit="s",
        ),
        graph(
            "Time by stage",
            "Share of the time that the trainer spends in each stage.",
            [
                Query(
                    per_second("ader_cycle_stage_seconds_total", "stage"),
                    "{{stage}}",
                )
            ],
            unit="percentunit",
        ),
        graph(
            "Training loss",
            "Of the last batch, nats.",
            [Query("max(ader_cycle_loss{SELECTOR})", "loss")],
        ),
        graph(
            "Recall@20 on the validation samples",
            "Of the running cycle.",
            [Query("max(ader_cycle_validation_recall20_ratio{SELECTOR})", "recall")],
            unit="percentunit",
        ),
        graph(
            "Speed",
            "Samples in a second.",
            [Query("max(ader_cycle_samples_per_second{SELECTOR})", "samples")],
        ),
    ]


def _versions() -> list[AnyPanel]:
    return [
        graph(
            "Versions",
            "The newest one that was trained, and the parent of the next cycle.",
            [
                Query("max(ader_version_trained{SELECTOR})", "trained"),
                Query("max(ader_version_accepted{SELECTOR})", "accepted"),
                Query("max(ader_version_parent{SELECTOR})", "parent"),
            ],
        ),
        graph(
            "Rejected and undecided versions",
            "In total since the trainer started. Nothing is shown before the first one.",
            [
                Query("sum(ader_versions_rejected_total{SELECTOR})", "rejected"),
                Query(
                    "sum by (outcome) (ader_versions_undecided_total{SELECTOR})",
                    "undecided, {{outcome}}",
                ),
            ],
        ),
        graph(
            "Items",
            "That the newest version knows.",
            [Query("max(ader_version_items{SELECTOR})", "items")],
        ),
    ]
