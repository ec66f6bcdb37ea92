"""Faults of training, serving and quality, and the alerts that each fires."""

from __future__ import annotations

from tests.unit.observability.timelines import (
    INFERENCE,
    MONITOR,
    OTHER_INFERENCE,
    SESSIONIZER,
    TRAINER,
    Case,
    counter,
    gauge,
)

BLOCK = f'ader_block_seconds{{{SESSIONIZER},partition="0"}}'


def up(worker: str, intervals: int) -> dict[str, str]:
    return {f"up{{{worker}}}": gauge((1, intervals))}


def trains(metric: str, labels: str = "") -> str:
    return f"{metric}{{{TRAINER}{labels}}}"


def serves(metric: str, worker: str = INFERENCE, labels: str = "") -> str:
    return f"{metric}{{{worker}{labels}}}"


TRAINING = (
    Case(
        "no trainer leads",
        {("AderNoLeader", "ticket")},
        {trains("ader_trainer_leader"): gauge((1, 10), (0, 30), (1, 20))},
        *(9, 39, 55),
    ),
    Case(
        "the trainer stops in a cycle",
        {("AderTrainerStuck", "ticket")},
        {
            trains("ader_blocks_waiting"): gauge((1, 60), (0, 20)),
            trains("ader_cycle_stage_seconds_total", ',stage="train"'): counter((60, 20), (0, 60)),
        },
        *(19, 55, 70),
    ),
    Case(
        "blocks wait",
        {("AderTrainerBacklog", "ticket")},
        {
            trains("ader_backlog_seconds"): gauge((600, 10), (2000, 60), (0, 20)),
            BLOCK: gauge((600, 90)),
        },
        *(9, 65, 85),
    ),
    Case(
        "a cycle takes longer than a block",
        {("AderTrainingSlow", "ticket")},
        {
            trains("ader_cycle_seconds"): gauge((500, 10), (700, 20), (500, 20)),
            BLOCK: gauge((600, 50)),
        },
        *(9, 25, 45),
    ),
    Case(
        "the gate rejects a version, the first one since the trainer started",
        {("AderVersionRejected", "ticket")},
        {
            **up(TRAINER, 200),
            trains("ader_versions_rejected_total"): gauge((None, 70), (1, 130)),
        },
        *(69, 75, 140),
    ),
    Case(
        "the gate rejects another version",
        {("AderVersionRejected", "ticket")},
        {**up(TRAINER, 200), trains("ader_versions_rejected_total"): gauge((1, 70), (2, 130))},
        *(69, 75, 140),
    ),
    Case(
        "the gate joins a version with the next block",
        set(),
        {
            **up(TRAINER, 200),
            trains("ader_versions_rejected_total"): gauge((None, 70), (1, 130)),
            trains("ader_versions_undecided_total", ',outcome="joined"'): gauge(
                (None, 70), (1, 130)
            ),
        },
        *(69, 75, 140),
    ),
)

SERVING = (
    Case(
        "no worker can load a version",
        {("AderNothingServed", "page"), ("AderSwapFailing", "ticket")},
        {
            serves("ader_version_chosen"): gauge((0, 1), (1, 40), (1, 20)),
            serves("ader_version_served"): gauge((None, 41), (1, 20)),
        },
        *(0, 39, 55),
    ),
    Case(
        "a worker continues with the version before",
        {("AderSwapFailing", "ticket"), ("AderVersionSkew", "ticket")},
        {
            serves("ader_version_chosen"): gauge((1, 10), (2, 50)),
            serves("ader_version_served"): gauge((1, 40), (2, 20)),
            serves("ader_version_chosen", OTHER_INFERENCE): gauge((1, 10), (2, 50)),
            serves("ader_version_served", OTHER_INFERENCE): gauge((1, 11), (2, 49)),
        },
        *(9, 39, 55),
    ),
    Case(
        "a worker refuses a version, its first one",
        {("AderArtifactsRefused", "ticket")},
        {
            **up(INFERENCE, 200),
            serves("ader_artifacts_refused_total", labels=',reason="digest"'): gauge(
                (None, 70), (1, 130)
            ),
        },
        *(69, 75, 140),
    ),
    Case(
        "Prometheus starts long after a worker has refused a version",
        set(),
        {
            **up(INFERENCE, 20),
            serves("process_start_time_seconds"): gauge((-90_000, 20)),
            serves("ader_artifacts_refused_total", labels=',reason="digest"'): gauge((1, 20)),
        },
        *(1, 5, 19),
    ),
    Case(
        "a worker starts and refuses a version at once",
        {("AderArtifactsRefused", "ticket")},
        {
            f"up{{{INFERENCE}}}": gauge((None, 100), (1, 100)),
            serves("process_start_time_seconds"): gauge((None, 100), (6000, 100)),
            serves("ader_artifacts_refused_total", labels=',reason="digest"'): gauge(
                (None, 100), (1, 100)
            ),
        },
        *(99, 105, 170),
    ),
    Case(
        "the served version is old",
        {("AderModelOld", "ticket")},
        {
            serves("ader_served_model_age_seconds"): gauge((900, 10), (1300, 30), (10, 20)),
            BLOCK: gauge((600, 60)),
        },
        *(9, 39, 55),
    ),
    Case(
        "a rollback stays in force",
        {("AderRollbackInForce", "ticket")},
        {
            serves("ader_version_chosen"): gauge((3, 10), (1, 90), (4, 20)),
            serves("ader_version_served"): gauge((3, 10), (1, 90), (4, 20)),
            serves("ader_version_accepted"): gauge((3, 100), (4, 20)),
        },
        *(9, 95, 115),
    ),
    Case(
        "a canary runs beside a pinned version",
        set(),
        {
            serves("ader_version_chosen"): gauge((3, 10), (1, 90), (4, 20)),
            serves("ader_version_accepted"): gauge((3, 100), (4, 20)),
            serves("ader_version_served"): gauge((3, 10), (1, 90), (4, 20)),
            serves("ader_version_canary"): gauge((0, 10), (3, 90), (0, 20)),
        },
        *(9, 95, 115),
    ),
    Case(
        "a canary is worse",
        {("AderCanaryEnded", "ticket")},
        {
            **up(INFERENCE, 200),
            serves("ader_canary_fallbacks_total"): gauge((None, 70), (1, 130)),
        },
        *(69, 75, 140),
    ),
)


def requests(*bad: tuple[float, int], total: int = 1000) -> dict[str, str]:
    """Requests of which a number fails in each interval of a phase."""
    good = [(total - step, count) for step, count in bad]
    return {
        serves("ader_requests_total", labels=',path="/recommend",status="200"'): counter(*good),
        serves("ader_requests_total", labels=',path="/recommend",status="500"'): counter(
            *((step or None, count) for step, count in bad[:1]), *bad[1:]
        ),
    }


def latencies(*slow: tuple[float, int], total: int = 1000) -> dict[str, str]:
    """Requests of which a number is slow in each interval of a phase."""
    fast = [(total - step, count) for step, count in slow]
    everything = [(total, count) for _, count in slow]
    bucket = "ader_request_seconds_bucket"
    return {
        serves(bucket, labels=',path="/recommend",le="0.1"'): counter(*fast),
        serves(bucket, labels=',path="/recommend",le="+Inf"'): counter(*everything),
        serves("ader_request_seconds_count", labels=',path="/recommend"'): counter(*everything),
    }


OBJECTIVES = (
    Case(
        "one request in 50 fails",
        {("AderServingErrors", "page"), ("AderServingErrors", "ticket")},
        requests((0, 20), (20, 20), (0, 80)),
        *(19, 38, 118),
        interval="5m",
    ),
    Case(
        "one request in 125 fails, for hours",
        {("AderServingErrors", "page"), ("AderServingErrors", "ticket")},
        requests((0, 20), (8, 70), (0, 80)),
        *(19, 88, 168),
        interval="5m",
    ),
    Case(
        "one request in 500 fails, for hours",
        {("AderServingErrors", "ticket")},
        requests((0, 20), (2, 60), (0, 80)),
        *(19, 78, 158),
        interval="5m",
    ),
    Case(
        "one answer in 5 is slow",
        {("AderServingLatency", "page"), ("AderServingLatency", "ticket")},
        latencies((0, 20), (200, 20), (0, 80)),
        *(19, 38, 118),
        interval="5m",
    ),
)


def scored(*phases: tuple[int, int, int]) -> dict[str, str]:
    """Clicks of which a number is hit, and further ones on unknown items, in each interval."""
    pair = ',block="1",version="1"'
    hits = [(hit, count) for hit, _, count in phases]
    unknown = [(step, count) for _, step, count in phases]
    total = sum(count for *_, count in phases)
    return {
        serves("ader_prequential_targets_total", labels=pair): counter((500, total)),
        serves("ader_prequential_hits_total", labels=pair + ',k="20"'): counter(*hits),
        serves("ader_prequential_unknown_items_total", labels=pair): counter(*unknown),
    }


QUALITY = (
    Case(
        "the model misses what is clicked",
        {("AderRecallFall", "ticket")},
        scored((150, 5, 40), (50, 5, 40), (150, 5, 40)),
        *(39, 78, 110),
        interval="5m",
    ),
)


def judged(minutes: int = 60, **states: str) -> dict[str, str]:
    """Signals of the last block that are fine, then have a state each for a time, then are fine."""
    series = {}
    for signal, state in states.items():
        of = f'{MONITOR},signal="{signal}",scope="block"'
        series[f"ader_drift_signal{{{of}}}"] = gauge((0.1, 10), (0.5, minutes), (0.1, 20))
        series[f'ader_drift_state{{{of},state="{state}"}}'] = gauge((0, 10), (1, minutes), (0, 20))
    return series


def drift(name: str, alerts: set[str], **states: str) -> Case:
    return Case(name, {(alert, "ticket") for alert in alerts}, judged(**states), 9, 60, 88)


DRIFT = (
    drift("a third of the shop is new", {"AderNewItems"}, unknown_items="act"),
    drift("other items are popular", {"AderPopularityShift"}, popularity_psi="act"),
    drift("sessions are cut in another way", {"AderSessionShapeShift"}, session_length="act"),
    drift("one visitor clicks all day", {"AderBusiestKey"}, busiest_key="act"),
    drift("everybody gets the same", {"AderRecommendedItemsShift"}, recommended_entropy="act"),
    drift("signals are unusual, and need no act", set(), unknown_items="watch", recall20="watch"),
    drift("recall falls and nothing else changes", {"AderRecallFallModel"}, recall20="act"),
    drift(
        "recall falls, items shift, and the version before is better",
        {"AderRecallFallModel"},
        recall20="act",
        version_difference="act",
        popularity_psi="watch",
    ),
    drift(
        "recall falls with the popular items",
        {"AderRecallFallData"},
        recall20="act",
        popularity_psi="watch",
    ),
    drift(
        "recall falls with the shape of sessions",
        {"AderRecallFallPipeline"},
        mrr20="act",
        popularity_psi="watch",
        session_length="watch",
    ),
    Case(
        "the monitor is behind",
        {("AderMonitorBehind", "ticket")},
        {f"ader_monitor_caught_up{{{MONITOR}}}": gauge((1, 10), (0, 60), (1, 20))},
        *(9, 60, 88),
    ),
    Case(
        "the monitor is older than the workers",
        {("AderMonitorUnreadable", "ticket")},
        {f"ader_monitor_unreadable_partitions{{{MONITOR}}}": gauge((0, 10), (1, 60), (0, 20))},
        *(9, 60, 88),
    ),
)
