"""Alerts of training: no leader, too slow, rejected versions."""

from __future__ import annotations

from ader_stream.observability.promql import events
from ader_stream.observability.recordings import BLOCK_SECONDS
from ader_stream.observability.rule import Alert, Component, Severity

TICKET, TRAINING = Severity.TICKET, Component.TRAINING

ALERTS = (
    Alert(
        "AderNoLeader",
        TICKET,
        TRAINING,
        "max by (prefix) (ader_trainer_leader) == 0",
        "15m",
        "No trainer leads",
        "Trainers run, and none has been the leader for 15 minutes: no block is trained.",
    ),
    Alert(
        "AderTrainerStuck",
        TICKET,
        TRAINING,
        """\
max by (prefix) (ader_blocks_waiting) > 0
unless on (prefix)
sum by (prefix) (increase(ader_cycle_stage_seconds_total[15m])) > 0""",
        "15m",
        "{{ $value }} blocks wait, and the trainer does nothing",
        "No stage of an update cycle took any time in the last 15 minutes.",
    ),
    Alert(
        "AderTrainerBacklog",
        TICKET,
        TRAINING,
        f"max by (prefix) (ader_backlog_seconds) > 2 * {BLOCK_SECONDS}",
        "30m",
        "{{ $value | humanizeDuration }} of event time wait for the trainer",
        "More than two blocks are complete and not trained.",
    ),
    Alert(
        "AderTrainingSlow",
        TICKET,
        TRAINING,
        f"max by (prefix) (ader_cycle_seconds) > {BLOCK_SECONDS}",
        "5m",
        "An update cycle takes longer than a block",
        "The last cycle took {{ $value | humanizeDuration }}: the backlog grows with every block.",
    ),
    Alert(
        "AderVersionRejected",
        TICKET,
        TRAINING,
        f"""\
{events("ader_versions_rejected_total", "1h")}
unless on (prefix)
{events('ader_versions_undecided_total{outcome="joined"}', "1h")}""",
        "0m",
        "The gate rejected a version",
        "The version before continues to serve; `ader-stream models list` gives the reason. A "
        "version that is joined with the next block does not count.",
    ),
)
