"""The catalogue: every metric, its type, unit, labels and meaning.

Names follow ``ader_<noun>_<unit>[_total]`` in base units. No label grows without bound: no session,
no item. The caller passes the registry in.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)

T = TypeVar("T", Counter, Gauge, Histogram)

CATALOGUE: list[Metric[Any]] = []
"""All metrics, in the order of this file."""


@dataclass(frozen=True)
class Metric(Generic[T]):
    """One metric of the catalogue.

    Parameters
    ----------
    kind
        Counter, Gauge or Histogram of prometheus-client.
    name, unit, labels, meaning
        What `ader-stream metrics` prints.
    buckets
        Upper bounds of a histogram.
    """

    kind: type[T]
    name: str
    unit: str
    meaning: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        CATALOGUE.append(self)

    def build(self, registry: CollectorRegistry) -> T:
        """Register the metric."""
        options: dict[str, Any] = {"buckets": self.buckets} if self.buckets else {}
        return self.kind(self.name, self.meaning, self.labels, registry=registry, **options)


class Metrics:
    """The metrics of one process, each registered when it is first used.

    >>> metrics = Metrics(CollectorRegistry())
    >>> metrics[CLICKS].labels(partition=0).inc()
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        # A second series for each counter, which no query here needs.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry
        self._built: dict[str, Any] = {}
        self._lock = threading.Lock()

    def __getitem__(self, metric: Metric[T]) -> T:
        with self._lock:  # requests are answered in several threads
            if metric.name not in self._built:
                self._built[metric.name] = metric.build(self.registry)
        return cast("T", self._built[metric.name])

    def drop_gauges(self, **labels: object) -> None:
        """Remove all gauges with these labels until they are set again.

        Otherwise, after a rebalance, this worker would still export an outdated value in addition
        to the new owner's.

        >>> metrics = Metrics(CollectorRegistry())
        >>> for partition in (0, 1):
        ...     metrics[LAG].labels(partition=partition).set(7)
        >>> metrics.drop_gauges(partition=0)
        >>> [sample.labels for sample in metrics[LAG].collect()[0].samples]
        [{'partition': '1'}]
        """
        gone = {(name, str(value)) for name, value in labels.items()}
        for metric in CATALOGUE:
            if metric.kind is Gauge and labels.keys() <= {*metric.labels}:
                self._remove(metric, gone)

    def replace(self, gauge: Metric[Gauge], values: Mapping[Any, float]) -> None:
        """Set a gauge for each of these label values, and remove all others of it.

        >>> metrics = Metrics(CollectorRegistry())
        >>> metrics.replace(LAG, {(0,): 7, (1,): 9})
        >>> metrics.replace(LAG, {(1,): 5})
        >>> [(s.labels, s.value) for s in metrics[LAG].collect()[0].samples]
        [({'partition': '1'}, 5.0)]
        """
        built, wanted = self[gauge], {tuple(map(str, labels)) for labels in values}
        for sample in next(iter(built.collect())).samples:
            labels = tuple(sample.labels[name] for name in gauge.labels)
            if labels not in wanted:
                built.remove(*labels)
        for labels_, value in values.items():
            built.labels(*labels_).set(value)

    def drop(self, *metrics: Metric[Any]) -> None:
        """Remove these metrics until they are used again."""
        with self._lock:
            for metric in metrics:
                if built := self._built.pop(metric.name, None):
                    self.registry.unregister(built)

    def _remove(self, metric: Metric[Any], labels: Set[tuple[str, str]]) -> None:
        if (gauge := self._built.get(metric.name)) is None:
            return
        for sample in gauge.collect()[0].samples:
            if labels <= sample.labels.items():
                gauge.remove(*(sample.labels[name] for name in metric.labels))

    def show(self, counter: Metric[Counter], total: int, **labels: object) -> None:
        """Raise a counter to a total that another component has counted."""
        if total:
            self[counter].remove(*(str(value) for value in labels.values()))
            self[counter].labels(**labels).inc(total)


_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

_REQUEST_SECONDS = (
    *(0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075),
    *(0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0),
)
"""Steps of at most 2 from 1 ms to 1 s: an objective in this range is near a bound, and a quantile
is wrong by less than the step."""

# The process
BUILD = Metric(
    Gauge,
    "ader_build_info",
    "1",
    "Always 1: ader-stream's version, the hash of the method's source, and the versions of Python, "
    "torch (empty where it is not loaded) and librdkafka.",
    ("version", "code", "python", "torch", "librdkafka"),
)
SETTINGS = Metric(
    Gauge,
    "ader_settings_info",
    "1",
    "Always 1: a digest of the settings (not of http, log and librdkafka's values), the prefix of "
    "the topics, and the recipe.",
    ("digest", "prefix", "recipe"),
)

# Input and sessions
CLICKS = Metric(Counter, "ader_clicks_total", "clicks", "Click records read.", ("partition",))
LATE = Metric(
    Counter,
    "ader_late_clicks_total",
    "clicks",
    "Late clicks moved to the watermark.",
    ("partition",),
)
DEAD_LETTERS = Metric(
    Counter, "ader_dead_letters_total", "clicks", "Clicks refused, by reason.", ("reason",)
)
IGNORED = Metric(
    Counter,
    "ader_ignored_records_total",
    "records",
    "Records of the input skipped, by reason: tombstone (no value, and no heartbeat), where "
    "(left out by `clicks.where`), key (one of `clicks.ignore_keys`), or empty (an empty list of "
    "`clicks.explode`).",
    ("partition", "reason"),
)
LETTERS_TRUNCATED = Metric(
    Counter,
    "ader_dead_letters_truncated_total",
    "clicks",
    "Dead letters with only the first bytes of a click that is too large for a record.",
    ("partition",),
)
DUPLICATES = Metric(
    Counter,
    "ader_duplicate_clicks_total",
    "clicks",
    "Clicks skipped because their event id was known.",
    ("partition",),
)
HELD = Metric(
    Gauge,
    "ader_held_clicks",
    "clicks",
    "Quarantined clicks: far ahead of the stream time, to be confirmed by other clicks.",
    ("partition",),
)
ERASURES_WAITING = Metric(
    Gauge,
    "ader_erasures_waiting",
    "requests",
    "Requests to erase a key that are not applied yet: their clicks are still to be read, or "
    "searched for.",
    ("partition",),
)
ERASED = Metric(
    Counter,
    "ader_erased_total",
    "sessions, clicks",
    "Erased at the request of `ader-stream forget`, by kind: open sessions, quarantined "
    "clicks, dead_letters that were not written.",
    ("partition", "what"),
)
HEARTBEATS_CAPPED = Metric(
    Counter,
    "ader_heartbeats_capped_total",
    "heartbeats",
    "Heartbeats more than clicks.max_ahead beyond their record's timestamp: cut to that bound.",
    ("partition",),
)
TRACES_DROPPED = Metric(
    Counter,
    "ader_traces_dropped_total",
    "clicks",
    "Traced clicks whose sessions will not name their traces: there are too many of them.",
    ("partition",),
)
SESSIONS = Metric(Counter, "ader_sessions_total", "sessions", "Sessions closed.", ("partition",))
CLOSED_EARLY = Metric(
    Counter,
    "ader_sessions_closed_early_total",
    "sessions",
    "Sessions closed at a limit (clicks, age, bytes, open ones), or by a change of the rules.",
    ("partition", "bound"),
)
BLOCKS = Metric(Counter, "ader_block_ends_total", "blocks", "Block ends written.", ("partition",))
IDLE_ADVANCES = Metric(
    Counter,
    "ader_idle_advances_total",
    "advances",
    "Advances of an idle partition's watermark to that of other partitions.",
    ("partition",),
)
SETTINGS_DIFFERING = Metric(
    Gauge,
    "ader_settings_differing",
    "settings",
    "Settings that decide the sessions and differ from the sessionizer's; the log names them.",
)
OPEN_SESSIONS = Metric(
    Gauge, "ader_open_sessions", "sessions", "Sessions that are not closed yet.", ("partition",)
)
OPEN_BLOCK = Metric(
    Gauge, "ader_open_block", "block number", "First block that has not ended.", ("partition",)
)
OPEN_BLOCK_DUE = Metric(
    Gauge,
    "ader_open_block_due_seconds",
    "seconds since 1970",
    "Time by which the open block should end: its end in event time, and the allowed lateness.",
    ("partition",),
)
BLOCK_SECONDS = Metric(
    Gauge, "ader_block_seconds", "seconds", "Event time in the open block.", ("partition",)
)
WATERMARK = Metric(
    Gauge,
    "ader_watermark_seconds",
    "seconds since 1970",
    "Watermark: the event time up to which all clicks were read.",
    ("partition",),
)
SKIPPED = Metric(
    Counter,
    "ader_skipped_records_total",
    "records",
    "Records that retention deleted before they were read (`offsets skip`), in total.",
    ("partition",),
)
REREAD_LOST = Metric(
    Counter,
    "ader_reread_lost_records_total",
    "records",
    "Records before the committed offset that retention had deleted when prefixes were restored.",
    ("partition",),
)
LAG = Metric(
    Gauge, "ader_lag_records", "records", "Records of the input not yet read.", ("partition",)
)
LAG_SECONDS = Metric(
    Gauge,
    "ader_lag_seconds",
    "seconds",
    "Time from the last record read to the newest one of the input, by their timestamps (of clicks "
    "near their event times), as of the last 10 s; 0 at the end.",
    ("partition",),
)

WAITING = Metric(
    Gauge,
    "ader_waiting_partitions",
    "partitions",
    "Partitions whose next click waits for the schema registry to answer.",
)
RESTORING = Metric(
    Gauge,
    "ader_restoring_partitions",
    "partitions",
    "Partitions assigned to this worker whose state is still being restored.",
)

# The process
CLOCK = Metric(
    Gauge,
    "ader_clock_seconds",
    "seconds since 1970",
    "The worker's clock; compare it with the time of the scrape.",
)

# Commits
LAST_COMMIT = Metric(
    Gauge,
    "ader_last_commit_timestamp_seconds",
    "seconds since 1970",
    "Time of the worker's last commit; 0 before the first one.",
)
UNCOMMITTED = Metric(
    Gauge,
    "ader_uncommitted_seconds",
    "seconds",
    "Time during which the worker could not commit or join its group; 0 if all is committed.",
)
COMMIT_FAILURES = Metric(
    Counter,
    "ader_commit_failures_total",
    "commits",
    "Commits that failed, by the name of the error.",
    ("reason",),
)

TRANSACTION_ABORTS = Metric(
    Counter,
    "ader_transaction_aborts_total",
    "transactions",
    "Transactions that were aborted, by the name of the error.",
    ("reason",),
)

# Kafka's clients
KAFKA_CONNECTED = Metric(
    Gauge,
    "ader_kafka_connected",
    "0 or 1",
    "1 if each consumer (producer) of the worker that needs a broker is connected to it; "
    "coordinators have connections of their own.",
    ("client", "broker"),
)
KAFKA_REQUESTS = Metric(
    Gauge,
    "ader_kafka_waiting_requests",
    "requests",
    "Requests to a broker that wait to be sent or answered.",
    ("client", "broker"),
)
KAFKA_ROUND_TRIP = Metric(
    Gauge,
    "ader_kafka_round_trip_seconds",
    "seconds",
    "99th percentile of the last requests to a broker, the slowest client's; a fetch without new "
    "records takes up to fetch.wait.max.ms.",
    ("client", "broker"),
)
KAFKA_MESSAGES = Metric(
    Gauge,
    "ader_kafka_queued_messages",
    "records",
    "Records in the queues of producers, as of the last minute.",
)
REBALANCES = Metric(
    Counter,
    "ader_rebalances_total",
    "rebalances",
    "Changes of the assignment that the worker took part in.",
)
GROUP_STATE = Metric(
    Gauge,
    "ader_group_state",
    "0 or 1",
    "1 for the worker's state in its consumer group, in librdkafka's words: steady, or what it "
    "waits for.",
    ("state",),
)

# Training
LEADER = Metric(Gauge, "ader_trainer_leader", "0 or 1", "1 while this trainer leads.")
BLOCKS_WAITING = Metric(
    Gauge, "ader_blocks_waiting", "blocks", "Complete blocks that are not trained on yet."
)
BACKLOG = Metric(
    Gauge,
    "ader_backlog_seconds",
    "seconds",
    "Event time of the complete blocks that are not trained on yet.",
)
TRAINED_BEFORE = Metric(
    Counter,
    "ader_sessions_trained_before_total",
    "sessions",
    "Sessions left out: a version was trained on them before the sessions topic was reset.",
)
STAGE_SECONDS = Metric(
    Counter,
    "ader_cycle_stage_seconds_total",
    "seconds",
    "Time that update cycles have spent in each stage; it grows while a trainer works.",
    ("stage",),
)
CYCLE_EPOCH = Metric(Gauge, "ader_cycle_epoch", "epoch", "Epoch of the running update cycle.")
CYCLE_PROGRESS = Metric(
    Gauge, "ader_cycle_epoch_progress_ratio", "ratio", "Share of the epoch done."
)
CYCLE_LOSS = Metric(Gauge, "ader_cycle_loss", "nats", "Training loss of the last batch.")
CYCLE_VALIDATION = Metric(
    Gauge, "ader_cycle_validation_recall20_ratio", "ratio", "Recall@20 on the validation samples."
)
CYCLE_SPEED = Metric(
    Gauge, "ader_cycle_samples_per_second", "samples per second", "Training speed."
)
CYCLE_SECONDS = Metric(Gauge, "ader_cycle_seconds", "seconds", "Duration of the last update cycle.")
CYCLES = Metric(Counter, "ader_cycles_total", "cycles", "Update cycles finished.")
VERSION_TRAINED = Metric(
    Gauge, "ader_version_trained", "version", "Newest version that this trainer has trained."
)
VERSION_ITEMS = Metric(
    Gauge, "ader_version_items", "items", "Items in the newest version that may serve."
)
ITEMS_LEFT = Metric(
    Counter,
    "ader_items_left_total",
    "items",
    "Items removed with a version: without a click for `trainer.item_retention` blocks.",
)
VERSIONS_REJECTED = Metric(
    Counter, "ader_versions_rejected_total", "versions", "Versions that the gate rejected."
)
VERSIONS_UNDECIDED = Metric(
    Counter,
    "ader_versions_undecided_total",
    "versions",
    "Versions with too little data for a decision, by outcome: joined with the next "
    "block, accepted or rejected.",
    ("outcome",),
)
VERSION_FORGETTING = Metric(
    Gauge,
    "ader_version_forgetting_recall20_ratio",
    "ratio",
    "Recall@20 that the newest accepted version has lost on samples of the last earlier blocks, "
    "since their versions were new; the mean over the blocks.",
)
VERSION_FORGETTING_MRR = Metric(
    Gauge, "ader_version_forgetting_mrr20_ratio", "ratio", "The same for MRR@20."
)
VERSION_PLASTICITY = Metric(
    Gauge,
    "ader_version_plasticity_recall20_ratio",
    "ratio",
    "Recall@20 of the newest accepted version on held-out clicks on items that are new in it; "
    "where nothing is held out, its parent's on the next block's clicks on items new in that.",
)
VERSION_DISTILLATION = Metric(
    Gauge,
    "ader_version_distillation_ratio",
    "ratio",
    "Share of the distillation loss in the loss of the newest accepted version.",
)
VERSION_WEIGHT = Metric(
    Gauge,
    "ader_version_adaptive_weight",
    "1",
    "Adaptive weight of the distillation loss in its cycle; 0 without exemplars.",
)
VERSION_PARENT = Metric(
    Gauge, "ader_version_parent", "version", "Version that the next update cycle starts from."
)
VERSION_PUBLISHED = Metric(
    Gauge, "ader_version_published", "version", "Newest version in the models topic."
)
PUBLISH_SECONDS = Metric(
    Gauge,
    "ader_publish_seconds",
    "seconds",
    "Duration of the last publishing, chunks and manifest.",
)

# Serving
VERSION_SERVED = Metric(Gauge, "ader_version_served", "version", "Version that HTTP serves.")
VERSION_CHOSEN = Metric(
    Gauge,
    "ader_version_chosen",
    "version",
    "Version that is to be served, as the topics models and control say; 0 without one.",
)
VERSION_ACCEPTED = Metric(
    Gauge,
    "ader_version_accepted",
    "version",
    "Newest version that the gate accepted, pinned or not; 0 without one.",
)
CANARY_VERSION = Metric(
    Gauge,
    "ader_version_canary",
    "version",
    "Version served to the canary's share; 0 without one.",
)
CANARY_SHARE = Metric(
    Gauge, "ader_canary_share_ratio", "ratio", "Share of the session keys on the canary."
)
CANARY_CLICKS = Metric(
    Gauge,
    "ader_canary_compared_clicks",
    "clicks",
    "Clicks of all partitions that both canary and stable version scored; exported, like the "
    "two differences, by the worker with partition 0.",
)
CANARY_RECALL = Metric(
    Gauge,
    "ader_canary_recall20_difference_ratio",
    "ratio",
    "Recall@20 of the canary minus the stable version's on the same clicks: estimate, and lower "
    "and upper bound of an interval that is valid at any time.",
    ("bound",),
)
CANARY_MRR = Metric(
    Gauge,
    "ader_canary_mrr20_difference_ratio",
    "ratio",
    "The same for MRR@20.",
    ("bound",),
)
CANARY_FALLBACKS = Metric(
    Counter,
    "ader_canary_fallbacks_total",
    "canaries",
    "Canaries that this worker ended because they were worse.",
)
MODEL_AGE = Metric(
    Gauge,
    "ader_served_model_age_seconds",
    "seconds",
    "Time since the served version was published.",
)
RECOMMENDATIONS_CUT = Metric(
    Counter,
    "ader_recommendations_cut_total",
    "recommendations",
    "Recommendations written without their last items, to fit into a record.",
)
SWAP_SECONDS = Metric(
    Histogram,
    "ader_swap_seconds",
    "seconds",
    "Fetching, checking and loading a version, until it serves.",
    buckets=(*_SECONDS, 30.0, 60.0),
)
PUBLISH_TO_LIVE = Metric(
    Gauge,
    "ader_publish_to_live_seconds",
    "seconds",
    "From producing the manifest to serving the version, last version.",
)
ARTIFACTS_REFUSED = Metric(
    Counter,
    "ader_artifacts_refused_total",
    "versions",
    "Versions that could not be served, by reason.",
    ("reason",),
)
PREQUENTIAL_TARGETS = Metric(
    Counter, "ader_prequential_targets_total", "clicks", "Clicks scored.", ("block", "version")
)
PREQUENTIAL_HITS = Metric(
    Counter,
    "ader_prequential_hits_total",
    "clicks",
    "Scored clicks ranked among the first k.",
    ("block", "version", "k"),
)
PREQUENTIAL_RECIPROCAL = Metric(
    Counter,
    "ader_prequential_reciprocal_ranks_total",
    "reciprocal ranks",
    "Sum of 1/(rank+1) over the hits at k: over targets, MRR@k.",
    ("block", "version", "k"),
)
PREQUENTIAL_UNKNOWN = Metric(
    Counter,
    "ader_prequential_unknown_items_total",
    "clicks",
    "Clicks on items that are unknown to the scoring version.",
    ("block", "version"),
)
REQUESTS = Metric(Counter, "ader_requests_total", "requests", "HTTP requests.", ("path", "status"))
REQUEST_SECONDS = Metric(
    Histogram,
    "ader_request_seconds",
    "seconds",
    "HTTP request latency from the arrival of the headers: with the body, the wait for a thread, "
    "and ranking. An exemplar names the trace of the request's `traceparent`.",
    ("path",),
    buckets=_REQUEST_SECONDS,
)
REQUEST_QUEUE_SECONDS = Metric(
    Histogram,
    "ader_request_queue_seconds",
    "seconds",
    "Part of the latency before ranking begins: the body, and the wait for a thread.",
    ("path",),
    buckets=_REQUEST_SECONDS,
)
FALLBACKS = Metric(
    Counter,
    "ader_fallback_recommendations_total",
    "requests",
    "Requests with unknown items only, answered with the most frequent items.",
)

# Monitor
MONITOR_LEADER = Metric(Gauge, "ader_monitor_leader", "0 or 1", "1 while this monitor leads.")
MONITOR_CAUGHT_UP = Metric(
    Gauge,
    "ader_monitor_caught_up",
    "0 or 1",
    "1 once the leading monitor has read every topic to its end.",
)
MONITOR_UNREADABLE = Metric(
    Gauge,
    "ader_monitor_unreadable_partitions",
    "partitions",
    "Partitions at a record that only a newer release can read: counting has stopped there.",
)
MONITOR_SKIPPED = Metric(
    Counter,
    "ader_monitor_skipped_records_total",
    "records",
    "Records that the monitor could not count, by topic: damaged, or of an unknown type.",
    ("what",),
)
MONITOR_LOST = Metric(
    Counter,
    "ader_monitor_lost_records_total",
    "records",
    "Offsets that were deleted before the monitor counted them, by topic.",
    ("what",),
)
DRIFT_SIGNAL = Metric(
    Gauge,
    "ader_drift_signal",
    "as the signal",
    "Value of a drift signal; scope: block (the last complete one), open (the open block so far) "
    "or sliding (the last hour of event time, see monitor.sliding).",
    ("signal", "scope"),
)
DRIFT_THRESHOLD = Metric(
    Gauge,
    "ader_drift_threshold",
    "as the signal",
    "Bound of the usual values of a drift signal; beyond it the state is that of the level.",
    ("signal", "scope", "level", "bound"),
)
DRIFT_STATE = Metric(
    Gauge,
    "ader_drift_state",
    "0 or 1",
    "1 for the state of a drift signal (fine, watch, act or insufficient data), 0 for the others.",
    ("signal", "scope", "state"),
)
DRIFT_BLOCKS = Metric(
    Gauge, "ader_drift_blocks", "blocks", "Complete blocks whose statistics are kept."
)
DRIFT_BLOCK = Metric(Gauge, "ader_drift_block", "block number", "The block of a scope.", ("scope",))
DRIFT_CLICKS = Metric(
    Gauge, "ader_drift_block_clicks", "clicks", "Clicks in the sessions of a block.", ("scope",)
)
DRIFT_SESSIONS = Metric(
    Gauge, "ader_drift_block_sessions", "sessions", "Sessions of a block.", ("scope",)
)
MONITORED_VERSION = Metric(
    Gauge,
    "ader_monitored_version",
    "version",
    "Version of a role: served, previous (the version before it) or canary.",
    ("role",),
)
MONITORED_TARGETS = Metric(
    Gauge,
    "ader_monitored_targets",
    "clicks",
    "Clicks that the version of a role has scored in the kept blocks.",
    ("role",),
)
MONITORED_UNKNOWN = Metric(
    Gauge,
    "ader_monitored_unknown_items",
    "clicks",
    "Clicks on items that the version of a role did not know, in the kept blocks.",
    ("role",),
)
MONITORED_RECALL = Metric(
    Gauge,
    "ader_monitored_recall20_ratio",
    "ratio",
    "Prequential Recall@20 of the version of a role in the kept blocks: estimate, and lower and "
    "upper bound at 95 % as if clicks were independent.",
    ("role", "bound"),
)
MONITORED_MRR = Metric(
    Gauge, "ader_monitored_mrr20_ratio", "ratio", "The same for MRR@20.", ("role", "bound")
)
MONITORED_RECALL_DIFFERENCE = Metric(
    Gauge,
    "ader_monitored_recall20_difference_ratio",
    "ratio",
    "Recall@20 of a role's version minus that of another role, on the clicks that both have "
    "scored: estimate, and bounds that are valid at any time.",
    ("role", "against", "bound"),
)
MONITORED_MRR_DIFFERENCE = Metric(
    Gauge,
    "ader_monitored_mrr20_difference_ratio",
    "ratio",
    "The same for MRR@20.",
    ("role", "against", "bound"),
)
EVENT_TIME = Metric(
    Gauge,
    "ader_event_time_seconds",
    "seconds since 1970",
    "Event time that a stage has reached: clicks, sessions, block_end, trained or served.",
    ("stage",),
)
EVENT_TIME_LAG = Metric(
    Gauge,
    "ader_event_time_lag_seconds",
    "seconds",
    "Event time by which a stage is behind the newest click.",
    ("stage",),
)
SERVED_AGE_BLOCKS = Metric(
    Gauge,
    "ader_served_model_age_blocks",
    "blocks",
    "Complete blocks that the oldest served version has not learned from.",
)
VERSION_SKEW = Metric(
    Gauge,
    "ader_served_version_skew",
    "versions",
    "Newest minus oldest version that inference workers with partitions serve.",
)
SERVING_WORKERS = Metric(
    Gauge, "ader_serving_workers", "workers", "Inference workers that are assigned partitions."
)
REFUSED_RATIO = Metric(
    Gauge,
    "ader_dead_letters_ratio",
    "ratio",
    "Share of the clicks of the last day that were refused, by reason.",
    ("reason",),
)
LATE_RATIO = Metric(
    Gauge,
    "ader_late_clicks_ratio",
    "ratio",
    "Share of late clicks in the last complete block, or in the open one before there is one.",
)
