"""Shows how a canary compares with the stable version, and ends it where the rule says so."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from ader_stream import metrics as m
from ader_stream.metrics import Metrics
from ader_stream.paired import FallbackRule, Pair, PairedCounts
from ader_stream.stream.control.commands import FALLBACK, Command, encode_command
from ader_stream.stream.kafka.best_effort import BestEffortProducer
from ader_stream.stream.kafka.clients import KafkaClients
from ader_stream.stream.kafka.reading import REQUEST_TIMEOUT
from ader_stream.stream.scores.paired_log import PairedFollower
from ader_stream.stream.topics.topics import Topics

log = structlog.get_logger(__name__)

JUDGE_SECONDS = 1.0
"""At least between two looks at the sums."""


class CanaryWatch:
    """Follows the comparison of the whole system; for one worker of it.

    Two that believe to be that one for a moment may end a canary twice, which is the same as once.

    Parameters
    ----------
    rule
        When a canary ends by itself; None: never.
    """

    def __init__(
        self,
        clients: KafkaClients,
        topics: Topics,
        rule: FallbackRule | None,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._follower = PairedFollower(clients, topics.scores)
        self._producer = BestEffortProducer(clients) if rule else None
        self._topic = topics.control
        self._rule = rule
        self._metrics = metrics
        self._is_ended = False
        self._has_new = False
        self._judge_at = 0.0
        self._clock = clock

    def look(self, pair: Pair | None) -> None:
        """Take in what has come of two versions; None where there are none to compare."""
        if pair != self._follower.pair:
            self._follower.follow(pair)
            self._is_ended, self._judge_at = False, 0.0
            self._metrics.drop(m.CANARY_CLICKS, m.CANARY_RECALL, m.CANARY_MRR)
        self._has_new |= self._follower.poll()
        if pair and self._has_new and self._clock() >= self._judge_at:
            self._judge(pair)
        if self._producer:
            self._producer.poll()

    def close(self) -> None:
        """Stop reading; what was decided is written."""
        self._follower.close()
        if self._producer:
            self._producer.flush(REQUEST_TIMEOUT)

    def _judge(self, pair: Pair) -> None:
        """Add up all that is known of the two; where partitions are many, that takes a while."""
        self._has_new, self._judge_at = False, self._clock() + JUDGE_SECONDS
        counts = self._follower.counts
        self._show(counts)
        self._fall_back_if_worse(pair, counts)

    def _show(self, counts: PairedCounts) -> None:
        self._metrics[m.CANARY_CLICKS].set(counts.clicks)
        for metric, difference in (
            (m.CANARY_RECALL, counts.recall20),
            (m.CANARY_MRR, counts.mrr20),
        ):
            for bound, value in difference._asdict().items():
                self._metrics[metric].labels(bound=bound).set(value)

    def _fall_back_if_worse(self, pair: Pair, counts: PairedCounts) -> None:
        rule = self._rule
        if rule is None or self._is_ended or not counts.is_worse(rule.min_clicks, rule.margin):
            return
        self._is_ended = True
        reason = f"worse than version {pair.stable}: {counts}"
        log.warning("canary falls back", version=pair.canary, stable=pair.stable, reason=reason)
        self._write(Command(FALLBACK, pair.canary, stable=pair.stable, reason=reason))
        self._metrics[m.CANARY_FALLBACKS].inc()

    def _write(self, command: Command) -> None:
        if self._producer:
            key, value, headers = encode_command(command)
            self._producer.produce(self._topic, key, value, headers, on_loss=self._try_again)

    def _try_again(self) -> None:
        self._is_ended = False
