"""Joining a group: what a rebalance calls, what comes of an error there, and whose a name is."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import wraps

import structlog
from confluent_kafka import Consumer, KafkaException, TopicPartition

from ader_stream.errors import NameInUseError

log = structlog.get_logger(__name__)

RELEASE_SECONDS = 120.0
"""A name that is in use for longer is no dead member's: brokers let none be silent for so long
(`group.consumer.max.session.timeout.ms`, a minute)."""

OnRebalance = Callable[[Consumer, list[TopicPartition]], None]


def subscribe(consumer: Consumer, topic: str, **callbacks: OnRebalance) -> None:
    """Join the consumer's group.

    Parameters
    ----------
    callbacks
        ``on_assign``, ``on_revoke``, ``on_lost``: what they raise comes out of `consume`.
    """
    consumer.subscribe(
        [topic], **{name: _raising_exceptions(callback) for name, callback in callbacks.items()}
    )


def _raising_exceptions(callback: OnRebalance) -> OnRebalance:
    """Let what it raises be caught.

    An error that C code raises becomes an exception when Python code first handles it (until 3.12).
    From a callback the client hands it on as it is: no `except` takes it, and the process ends.
    """

    @wraps(callback)
    def called(consumer: Consumer, partitions: list[TopicPartition]) -> None:
        try:
            callback(consumer, partitions)
        except KafkaException:  # noqa: TRY203 - it is an exception from here on
            raise

    return called


class NameClaim:
    """How long a worker insists on its name in the group (``group.instance.id``).

    A dead member has it until the group gives it up (`consumer` protocol). A broker that comes back
    in the midst of a rebalance knows the members of the one before, and tells whoever has joined
    since that another one has the name (classic): its members are kept once they have their
    partitions. Both pass. A name that is taken away again soon after it was given is another
    worker's.

    Parameters
    ----------
    clock
        Seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._refused_since: float | None = None
        self._has_joined = False  # since then

    def note_joined(self) -> None:
        """The group has let it in."""
        self._has_joined = True

    def note_refusal(self, error: NameInUseError) -> None:
        """The group has its name for another; raise that where it is no use to ask again."""
        now, since = self._clock(), self._refused_since
        is_recent = since is not None and now - since <= RELEASE_SECONDS
        if since is None or (self._has_joined and not is_recent):
            self._refused_since = now
            log.warning("the group has this worker's name for another one", reason=str(error))
        elif self._has_joined or not is_recent:
            raise error
        self._has_joined = False
