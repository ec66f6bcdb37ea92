"""Alerts of the pipeline: workers, input, sessions, clocks."""

from __future__ import annotations

from ader_stream.observability.promql import BEHIND_CLICKS, INSTANCE, OF_CLICKS, share, workers
from ader_stream.observability.recordings import CLICK_RATE, LAG_SECONDS
from ader_stream.observability.rule import Alert, Component, Severity

PAGE, TICKET, PIPELINE = Severity.PAGE, Severity.TICKET, Component.PIPELINE
WORKER_NAME = "{{ $labels.worker }} {{ $labels.instance }}"


def _missing(severity: Severity, of: str) -> Alert:
    return Alert(
        "AderWorkerMissing",
        severity,
        PIPELINE,
        f"""\
group by (prefix, worker) (max_over_time({workers(of)}[1d]) == 1)
unless on (prefix, worker)
({workers(of)} == 1)""",
        "5m",
        "No {{ $labels.worker }} runs",
        "Within the last day at least one such worker answered Prometheus; now none does.",
        covers=OF_MISSING if severity is PAGE else (),
    )


def _cannot_commit(severity: Severity, of: str) -> Alert:
    return Alert(
        "AderCannotCommit",
        severity,
        PIPELINE,
        f"max by ({INSTANCE}) (ader_uncommitted_seconds{{{of}}}) > 120",
        "3m",
        f"{WORKER_NAME} cannot commit",
        "A commit, or joining the group, has taken {{ $value | humanizeDuration }} so far; a "
        "healthy one takes less than 10 s.",
        covers=OF_NO_COMMIT if severity is PAGE else (),
    )


OF_MISSING = (
    *("AderWorkerDown", "AderPartitionUnread", "AderNoClicks", "AderNoProgress"),
    *("AderBlockOverdue", "AderLagGrowing"),
)
OF_NO_COMMIT = (
    *("AderNoProgress", "AderCommitFailures", "AderLag", "AderLagGrowing"),
    *("AderBlockOverdue", "AderNoClicks", "AderPartitionIdle"),
)

STALLED = (
    _missing(PAGE, OF_CLICKS),
    _missing(TICKET, BEHIND_CLICKS),
    Alert(
        "AderWorkerDown",
        TICKET,
        PIPELINE,
        f"max by ({INSTANCE}) ({workers()}) == 0",
        "10m",
        f"{WORKER_NAME} does not answer",
        "Prometheus could not read the metrics of this worker for 10 minutes.",
    ),
    _cannot_commit(PAGE, OF_CLICKS),
    _cannot_commit(TICKET, BEHIND_CLICKS),
    Alert(
        "AderNoProgress",
        PAGE,
        PIPELINE,
        f"""\
max by ({INSTANCE}) (ader_lag_records{{{OF_CLICKS}}}) > 0
and on ({INSTANCE})
time() - max by ({INSTANCE}) (ader_last_commit_timestamp_seconds) > 300""",
        "5m",
        f"{WORKER_NAME} has records to read and makes no progress",
        "At least {{ $value }} records of a partition are unread, and the worker has committed "
        "nothing for 5 minutes.",
        covers=("AderLag", "AderLagGrowing", "AderBlockOverdue", "AderNoClicks"),
    ),
    Alert(
        "AderPartitionUnread",
        PAGE,
        PIPELINE,
        """\
group by (prefix, worker, partition) (max_over_time(ader_lag_records[1h]))
unless on (prefix, worker, partition)
ader_lag_records""",
        "10m",
        "No {{ $labels.worker }} reads partition {{ $labels.partition }}",
        "Within the last hour such a worker had the partition; now none has it.",
        covers=("AderBlockOverdue", "AderPartitionIdle"),
    ),
    Alert(
        "AderRegistryUnavailable",
        PAGE,
        PIPELINE,
        f"max by ({INSTANCE}) (ader_waiting_partitions) > 0",
        "10m",
        f"{WORKER_NAME} waits for the schema registry",
        "{{ $value }} partitions wait, because the registry does not answer for a schema.",
        covers=("AderNoProgress", "AderLag", "AderLagGrowing", "AderBlockOverdue"),
    ),
    Alert(
        "AderRestoreSlow",
        TICKET,
        PIPELINE,
        f"max by ({INSTANCE}) (ader_restoring_partitions) > 0",
        "15m",
        f"{WORKER_NAME} has restored the state of partitions for 15 minutes",
        "{{ $value }} partitions are assigned to the worker and not read yet.",
    ),
    Alert(
        "AderCommitFailures",
        TICKET,
        PIPELINE,
        f"sum by ({INSTANCE}, reason) (increase(ader_commit_failures_total[30m])) > 5",
        "15m",
        f"Commits of {WORKER_NAME} fail: {{{{ $labels.reason }}}}",
        "{{ $value | humanize }} commits failed in 30 minutes; a rebalance makes one or two.",
    ),
)
"""A worker or a partition makes no progress, or will soon make none."""

BEHIND = (
    Alert(
        "AderLag",
        PAGE,
        PIPELINE,
        f"{LAG_SECONDS}{{{OF_CLICKS}}} > 900",
        "15m",
        "{{ $labels.worker }} is {{ $value | humanizeDuration }} behind the clicks",
        "From the last record that was read to the newest one; the limit is 15 min.",
        covers=("AderLagGrowing", "AderBlockOverdue"),
    ),
    Alert(
        "AderLagGrowing",
        TICKET,
        PIPELINE,
        f"{LAG_SECONDS} > 60 and deriv({LAG_SECONDS}[30m]) > 0",
        "30m",
        "{{ $labels.worker }} falls behind: by {{ $value | humanizeDuration }} now",
        "The lag has grown for 30 minutes.",
    ),
    Alert(
        "AderBlockOverdue",
        TICKET,
        PIPELINE,
        """\
time() - max by (prefix, partition) (ader_open_block_due_seconds)
>
600 + 0.1 * max by (prefix, partition) (ader_block_seconds)""",
        "15m",
        "The open block of partition {{ $labels.partition }} should have ended",
        "It is {{ $value | humanizeDuration }} overdue by the clock; the limit is 10 min and a "
        "tenth of the block. The trainer waits for the block's end on every partition.",
    ),
)
"""Reading or the event time is behind the clock."""

INPUT = (
    Alert(
        "AderNoClicks",
        PAGE,
        PIPELINE,
        """\
sum by (prefix) (increase(ader_clicks_total[30m])) == 0
and on (prefix)
sum by (prefix) (increase(ader_clicks_total[30m] offset 1d)) > 100""",
        "10m",
        "No click arrives",
        "None in 30 minutes, and over 100 at the same time a day ago.",
        covers=("AderPartitionIdle",),
    ),
    Alert(
        "AderPartitionIdle",
        TICKET,
        PIPELINE,
        f"""\
(
  max by (prefix, partition) (ader_lag_records{{{OF_CLICKS}}}) == 0
  unless on (prefix, partition)
  sum by (prefix, partition) (increase(ader_clicks_total[1h])) > 0
)
and on (prefix)
3600 * {CLICK_RATE} > 20 * count by (prefix) (
  max by (prefix, partition) (ader_lag_records{{{OF_CLICKS}}})
)""",
        "30m",
        "Partition {{ $labels.partition }} of the clicks receives nothing",
        "No click in an hour, while the partitions receive over 20 each on average.",
    ),
    Alert(
        "AderDeadLetters",
        PAGE,
        PIPELINE,
        f"{share('ader_dead_letters_total', 'ader_clicks_total', '15m')}\n> 0.25\n"
        "and on (prefix)\nsum by (prefix) (increase(ader_dead_letters_total[15m])) > 10",
        "5m",
        "{{ $value | humanizePercentage }} of the clicks are refused",
        "Over 25 % in 15 minutes. A sessionizer stops when a partition has more than "
        "`sessionizer.dead_letter_ratio`.",
    ),
    Alert(
        "AderDeadLetters",
        TICKET,
        PIPELINE,
        f"{share('ader_dead_letters_total', 'ader_clicks_total', '1h')}\n> 0.01\n"
        "and on (prefix)\nsum by (prefix) (increase(ader_dead_letters_total[1h])) > 10",
        "10m",
        "{{ $value | humanizePercentage }} of the clicks are refused",
        "Over 1 % in an hour; each one is a dead letter with its reason.",
    ),
    Alert(
        "AderLateClicks",
        TICKET,
        PIPELINE,
        f"{share('ader_late_clicks_total', 'ader_clicks_total', '1h')}\n> 0.05",
        "15m",
        "{{ $value | humanizePercentage }} of the clicks are late",
        "Over 5 % in an hour were moved to the watermark: their sessions may be cut wrongly.",
    ),
    Alert(
        "AderQuarantinedClicks",
        TICKET,
        PIPELINE,
        """\
sum by (prefix) (ader_held_clicks)
>
0.01 * sum by (prefix) (increase(ader_clicks_total[1h]))""",
        "30m",
        "{{ $value }} clicks are quarantined",
        "More than 1 % of an hour's clicks are far ahead of their partition's event time, and no "
        "other visitor's clicks confirm them.",
    ),
)
"""What arrives is missing, wrong or late."""

CLOCKS_AND_RULES = (
    Alert(
        "AderClockSkew",
        TICKET,
        PIPELINE,
        f"max by ({INSTANCE}) (abs(ader_clock_seconds - timestamp(ader_clock_seconds))) > 5",
        "5m",
        f"The clock of {WORKER_NAME} is {{{{ $value | humanizeDuration }}}} off",
        "Compared with the clock of Prometheus; the limit is 5 s.",
    ),
    Alert(
        "AderEventTimeAhead",
        TICKET,
        PIPELINE,
        "max by (prefix, partition) (ader_watermark_seconds) - time() > 300",
        "5m",
        "Event time of partition {{ $labels.partition }} is ahead of the clock",
        "By {{ $value | humanizeDuration }}: clicks with the right time are late there.",
        covers=("AderLateClicks",),
    ),
    Alert(
        "AderSettingsDiffer",
        TICKET,
        PIPELINE,
        f"max by ({INSTANCE}) (ader_settings_differing) > 0",
        "30m",
        f"{WORKER_NAME} has other settings than the sessionizer",
        "{{ $value }} settings that decide the sessions differ: its scores are of other sessions.",
    ),
    Alert(
        "AderErasureWaiting",
        TICKET,
        PIPELINE,
        "max by (prefix, partition) (ader_erasures_waiting) > 0",
        "6h",
        "Erasure requests wait on partition {{ $labels.partition }}",
        "{{ $value }} requests have not been applied for 6 hours.",
    ),
)
"""Clocks, settings and requests."""

ALERTS = (*STALLED, *BEHIND, *INPUT, *CLOCKS_AND_RULES)
