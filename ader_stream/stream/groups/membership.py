"""Join a group: callbacks of a rebalance, their errors, and the ownership of a member's name."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import wraps

import structlog
from confluent_kafka import Consumer, KafkaException, TopicPartition

from ader_stream.errors import NameInUseError

log = structlog.get_logger(__name__)

RELEASE_SECONDS = 120.0
"""A name in use for longer does not belong to a dead member: brokers do not wait that long
(`group.consumer.max.session.timeout.ms`, a minute)."""

OnRebalance = Callable[[Consumer, list[TopicPartition]], None]


def subscribe(consumer: Consumer, topic: str, **callbacks: OnRebalance) -> None:
    """Join the consumer's group.

    Parameters
    ----------
    callbacks
        ``on_assign``, ``on_revoke``, ``on_lost``: `consume` raises their errors.
    """
    consumer.subscribe(
        [topic], **{name: _raising_exceptions(callback) for name, callback in callbacks.items()}
    )


def _raising_exceptions(callback: OnRebalance) -> OnRebalance:
    """Make the exceptions of a callback catchable.

    An error that C code raises becomes an exception when Python code first handles it (until 3.12).
    From a callback, the client passes it on unchanged: no `except` catches it, and the process
    ends.
    """

    @wraps(callback)
    def called(consumer: Consumer, partitions: list[TopicPartition]) -> None:
        try:
            callback(consumer, partitions)
        except KafkaException:  # noqa: TRY203 - it is an exception from here on
            raise

    return called


class NameClaim:
    """Decides how long a worker retries with its name in the group (``group.instance.id``).

    A dead member has the name until its session times out (`consumer` protocol). A broker that
    restarts during a rebalance knows the members of the one before, and refuses later members
    because another one has their name (classic): members are stored only after they have their
    partitions. Both cases end by themselves. A name that is taken away soon after it was given
    belongs to another worker.

    Parameters
    ----------
    clock
        Returns seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._refused_since: float | None = None
        self._has_joined = False  # since then

    def note_joined(self) -> None:
        """Record that the group has accepted the worker."""
        self._has_joined = True

    def note_refusal(self, error: NameInUseError) -> None:
        """Record that the group refuses the name; raise the error if a retry cannot help."""
        now, since = self._clock(), self._refused_since
        is_recent = since is not None and now - since <= RELEASE_SECONDS
        if since is None or (self._has_joined and not is_recent):
            self._refused_since = now
            log.warning("the group has another member with this worker's name", reason=str(error))
        elif self._has_joined or not is_recent:
            raise error
        self._has_joined = False
