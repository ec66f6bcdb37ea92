"""Whether a user may write in the name of a transactional id, found out without taking it over.

No broker says it, and to start a producer of that name fences the one that works under it. A broker
that is asked for an impossible transaction time-out looks at the right first and at the time-out
next, and refuses for either before it does anything.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from ader_stream.stream.kafka.clients import KafkaClients

IMPOSSIBLE_MS = 2**31 - 1
"""The longest time-out that can be written: far above any broker's transaction.max.timeout.ms."""

UNUSED = "doctor"
"""End of an id that nobody has."""

ASK_SECONDS = 10.0

_TIMEOUT = "transaction.timeout.ms"


def may_write(clients: KafkaClients, transactional_id: str, group: str) -> bool | None:
    """Return whether the user may write in the name of an id; None where that cannot be said.

    It is asked only where the answer harms nobody: where the broker has been seen to refuse the
    time-out, with an id that is not in use, or where the group of the id's users is empty.
    """
    unused = f"{transactional_id.removesuffix('.0')}.{UNUSED}"
    is_bounded = _refusal(clients, unused) == KafkaError.INVALID_TRANSACTION_TIMEOUT
    if not is_bounded and not _is_empty(clients.admin(), group):
        return None
    code = _refusal(clients, transactional_id)
    if code == KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
        return False
    return True if code in (None, KafkaError.INVALID_TRANSACTION_TIMEOUT) else None


def _refusal(clients: KafkaClients, transactional_id: str) -> int | None:
    """Ask for an impossible time-out, and return the code of the refusal; None if there is none."""
    properties = {name: value for name, value in clients.properties.items() if name != _TIMEOUT}
    asking = replace(clients, properties=properties, transaction_timeout=IMPOSSIBLE_MS)
    producer = asking.producer(transactional_id, logging.Logger("asking"))  # writes nowhere
    try:
        producer.init_transactions(ASK_SECONDS)
    except KafkaException as exception:
        return int(exception.args[0].code())
    return None


def _is_empty(admin: AdminClient, group: str) -> bool:
    """Whether a group is known to have no member."""
    [future] = admin.describe_consumer_groups([group]).values()
    try:
        return not future.result(ASK_SECONDS).members
    except (KafkaException, TimeoutError):
        return False
