"""Faults of the pipeline, and the alerts that each fires."""

from __future__ import annotations

from tests.unit.observability.timelines import SESSIONIZER, TRAINER, Case, clock, counter, gauge

AT = f"{SESSIONIZER},partition="
UP = f"up{{{SESSIONIZER}}}"
LAG = f'ader_lag_records{{{AT}"0"}}'
CLICKS = f'ader_clicks_total{{{AT}"0"}}'
COMMITTED = f"ader_last_commit_timestamp_seconds{{{SESSIONIZER}}}"


def of(metric: str, labels: str = "") -> str:
    return f"{metric}{{{SESSIONIZER}{labels}}}"


def gauge_case(alert: str, severity: str, metric: str, value: float, minutes: int) -> Case:
    """A gauge that is 0, has a value for some time, and is 0 again."""
    series = {
        of(metric, ',partition="0"' if metric in BY_PARTITION else ""): gauge(
            (0, 10), (value, minutes), (0, 20)
        )
    }
    return Case(alert, {(alert, severity)}, series, 9, 8 + minutes, 25 + minutes)


BY_PARTITION = ("ader_erasures_waiting",)

CASES = (
    Case(
        "the last worker of its kind disappears",
        {("AderWorkerMissing", "page")},
        {UP: gauge((1, 10), (None, 20), (1, 20))},
        *(9, 29, 45),
    ),
    Case(
        "the last worker of its kind does not answer",
        {("AderWorkerMissing", "page"), ("AderWorkerDown", "ticket")},
        {UP: gauge((1, 10), (0, 20), (1, 20))},
        *(9, 29, 45),
    ),
    Case(
        "one of two workers does not answer",
        {("AderWorkerDown", "ticket")},
        {
            UP: gauge((1, 10), (0, 20), (1, 20)),
            'up{job="ader-files",worker="sessionizer",instance="b"}': gauge((1, 50)),
        },
        *(9, 29, 45),
    ),
    Case(
        "the last trainer does not answer",
        {("AderWorkerMissing", "ticket"), ("AderWorkerDown", "ticket")},
        {f"up{{{TRAINER}}}": gauge((1, 10), (0, 20), (1, 20))},
        *(9, 29, 45),
    ),
    Case(
        "a trainer cannot join its group",
        {("AderCannotCommit", "ticket")},
        {f"ader_uncommitted_seconds{{{TRAINER}}}": gauge((0, 10), (200, 10), (0, 10))},
        *(9, 19, 28),
    ),
    Case(
        "a trainer has read everything, and commits once in a block",
        set(),
        {
            f'ader_lag_records{{{TRAINER},partition="0"}}': gauge((3, 60)),
            f"ader_last_commit_timestamp_seconds{{{TRAINER}}}": clock((None, 60)),
        },
        *(9, 29, 45),
    ),
    gauge_case("AderCannotCommit", "page", "ader_uncommitted_seconds", 200, 10),
    gauge_case("AderRegistryUnavailable", "page", "ader_waiting_partitions", 1, 20),
    gauge_case("AderRestoreSlow", "ticket", "ader_restoring_partitions", 1, 30),
    gauge_case("AderSettingsDiffer", "ticket", "ader_settings_differing", 1, 40),
    gauge_case("AderErasureWaiting", "ticket", "ader_erasures_waiting", 1, 400),
    Case(
        "a worker reads no record",
        {("AderNoProgress", "page")},
        {LAG: gauge((0, 10), (9, 20), (0, 20)), COMMITTED: clock((0, 10), (None, 20), (0, 20))},
        *(9, 29, 45),
    ),
    Case(
        "nobody reads a partition",
        {("AderPartitionUnread", "page")},
        {
            LAG: gauge((0, 60)),
            f'ader_lag_records{{{AT}"1"}}': gauge((0, 10), (None, 20), (0, 30)),
            COMMITTED: clock((0, 60)),
        },
        *(9, 29, 45),
    ),
    Case(
        "commits fail again and again",
        {("AderCommitFailures", "ticket")},
        {
            of("ader_commit_failures_total", ',reason="_TIMED_OUT"'): counter(
                (None, 10), (1, 40), (0, 60)
            )
        },
        *(9, 48, 100),
    ),
    Case(
        "records come faster than they are read",
        {("AderLag", "page"), ("AderLagGrowing", "ticket")},
        {
            of("ader_lag_seconds", ',partition="0"'): gauge(
                (0, 40), *((60 * minute, 1) for minute in range(60)), (0, 40)
            )
        },
        *(39, 95, 130),
    ),
    Case(
        "a block does not end",
        {("AderBlockOverdue", "ticket")},
        {
            of("ader_open_block_due_seconds", ',partition="0"'): gauge((3600, 120), (36000, 40)),
            of("ader_block_seconds", ',partition="0"'): gauge((3600, 160)),
        },
        *(70, 119, 150),
    ),
    Case(
        "clicks stop",
        {("AderNoClicks", "page")},
        {CLICKS: counter((100, 300), (0, 20), (100, 20))},
        *(298, 315, 330),
        interval="5m",
    ),
    Case(
        "one of two partitions receives nothing",
        {("AderPartitionIdle", "ticket")},
        {
            LAG: gauge((0, 240)),
            f'ader_lag_records{{{AT}"1"}}': gauge((0, 240)),
            CLICKS: counter((10, 240)),
            f'ader_clicks_total{{{AT}"1"}}': counter((10, 20), (0, 150), (10, 70)),
            COMMITTED: clock((0, 240)),
        },
        *(25, 165, 180),
    ),
    Case(
        "some clicks are refused",
        {("AderDeadLetters", "ticket")},
        {
            CLICKS: counter((100, 200)),
            of("ader_dead_letters_total", ',reason="malformed"'): counter(
                (None, 20), (5, 60), (0, 120)
            ),
        },
        *(19, 75, 190),
    ),
    Case(
        "most clicks are refused",
        {("AderDeadLetters", "ticket"), ("AderDeadLetters", "page")},
        {
            CLICKS: counter((100, 200)),
            of("ader_dead_letters_total", ',reason="malformed"'): counter(
                (None, 20), (60, 40), (0, 140)
            ),
        },
        *(19, 58, 190),
    ),
    Case(
        "many clicks are late",
        {("AderLateClicks", "ticket")},
        {
            CLICKS: counter((100, 240)),
            of("ader_late_clicks_total", ',partition="0"'): counter((0, 20), (20, 60), (0, 160)),
        },
        *(19, 75, 200),
    ),
    Case(
        "a producer's clock is ahead",
        {("AderQuarantinedClicks", "ticket")},
        {
            CLICKS: counter((10, 240)),
            of("ader_held_clicks", ',partition="0"'): gauge((0, 70), (50, 60), (0, 110)),
        },
        *(69, 125, 200),
    ),
    Case(
        "a worker's clock is wrong",
        {("AderClockSkew", "ticket")},
        {of("ader_clock_seconds"): clock((0, 10), (-30, 20), (0.2, 20))},
        *(9, 28, 45),
    ),
    Case(
        "event time is ahead",
        {("AderEventTimeAhead", "ticket")},
        {of("ader_watermark_seconds", ',partition="0"'): clock((-5, 10), (900, 20), (-5, 20))},
        *(9, 28, 45),
    ),
)
