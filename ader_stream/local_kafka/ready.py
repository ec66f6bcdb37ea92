"""Wait for a broker to answer."""

from __future__ import annotations

import time
from collections.abc import Callable

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from ader_stream.errors import BrokerError

READY_TIMEOUT_S = 180.0
"""Three seconds are usual; with twenty busy processes on two cores it took more than a minute."""

POLL_S = 0.05


def answers(bootstrap_servers: str, timeout: float) -> bool:
    """Return whether a broker answers within `timeout` seconds."""
    return _lists_brokers(_quiet_client(bootstrap_servers), timeout)


def wait_until_ready(bootstrap_servers: str, why_ended: Callable[[], str | None]) -> None:
    """Return when the broker answers.

    Parameters
    ----------
    why_ended
        Returns None while the broker runs, else its last line of output.

    Raises
    ------
    BrokerError
        If it ends first, or does not answer in time.
    """
    client = _quiet_client(bootstrap_servers)
    deadline = time.monotonic() + READY_TIMEOUT_S
    while not _lists_brokers(client, timeout=1.0):
        if (last_words := why_ended()) is not None:
            raise BrokerError(f"the broker ended while starting: {last_words}")
        if time.monotonic() > deadline:
            raise BrokerError(
                f"the broker does not answer at {bootstrap_servers} after {READY_TIMEOUT_S:g} s"
            )
        time.sleep(POLL_S)


def _quiet_client(bootstrap_servers: str) -> AdminClient:
    """Return a client that retries quickly, and does not log each refused connection meanwhile."""
    return AdminClient(
        {
            "bootstrap.servers": bootstrap_servers,
            "reconnect.backoff.ms": 50,
            "reconnect.backoff.max.ms": 200,
            "log_level": 0,
        }
    )


def _lists_brokers(client: AdminClient, timeout: float) -> bool:
    try:
        # A broker that is still starting answers, but does not list itself yet.
        return bool(client.list_topics(timeout=timeout).brokers)
    except KafkaException:
        return False
