"""Joining a group: what a rebalance calls, and what comes of an error there."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from confluent_kafka import Consumer, KafkaException, TopicPartition

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
