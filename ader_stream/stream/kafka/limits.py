"""How large a record of a topic may be: what the brokers and our own producers take.

A record that is larger than its topic allows is refused however often it is sent again. Whatever
is made of the user's records is therefore bounded by what `RecordLimits` says before it is written.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

import structlog
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from ader_stream.errors import SettingsError, TopicError
from ader_stream.stream.kafka.clients import BATCH_BYTES, MAX_RECORD_BYTES, KafkaClients
from ader_stream.stream.kafka.rights import is_refusal

log = structlog.get_logger(__name__)

REQUEST_SECONDS = 30.0
"""How long the question may take."""

PROPERTY = "max.message.bytes"

KAFKA_DEFAULT = 1_048_588
"""`max.message.bytes` of a topic that nobody has configured."""

SMALLEST = 256 * 1024
"""Below this a topic is refused: the smallest limit among the hosted services."""

FRAMING_BYTES = 512
"""What a topic's limit counts beside key and value: a batch's header, lengths, our own headers.
Measured: 130 bytes."""

RECOMPRESSED = 64
"""A broker that compresses batches again (`compression.type` of the topic) may add a part of this
to what cannot be compressed."""


@dataclass(frozen=True)
class RecordLimits:
    """What a record of each topic may have.

    Parameters
    ----------
    topics
        Topic → its `max.message.bytes`; one that is not there has Kafka's default.
    client
        `message.max.bytes` of our producers.

    >>> RecordLimits({"ader.sessions": 1_048_576}).room("ader.sessions")
    1031680
    """

    topics: Mapping[str, int] = field(default_factory=dict)
    client: int = MAX_RECORD_BYTES

    def room(self, *topics: str) -> int:
        """Return the bytes that key and value may have together, in each of these topics."""
        limit = min(self.client, *(self.topics.get(topic, KAFKA_DEFAULT) for topic in topics))
        return limit - limit // RECOMPRESSED - FRAMING_BYTES

    @property
    def batch_bytes(self) -> int:
        """What a producer may send at once to a partition of any of these topics."""
        return min(BATCH_BYTES, self.room(*self.topics))

    def fitted(self, clients: KafkaClients) -> KafkaClients:
        """Return clients whose producers send no batch that one of the topics refuses."""
        return replace(clients, batch_bytes=min(clients.batch_bytes, self.batch_bytes))


DEFAULT_ROOM = RecordLimits().room("a topic that nobody has configured")
"""Bytes that key and value of a record may have together where nothing else is known."""


def record_limits(clients: KafkaClients, *topics: str) -> RecordLimits:
    """Ask how large records of these topics may be.

    Raises
    ------
    TopicError
        If a topic takes less than what can be worked with, or nobody says what it takes.
    SettingsError
        If `kafka.librdkafka` has producers send less, or larger batches than a topic takes.
    """
    found = _ask(clients.admin(), topics)
    limits = RecordLimits(found, clients.max_record_bytes)
    for topic, limit in found.items():
        if limit < SMALLEST:
            raise TopicError(
                f"{topic}: {PROPERTY} = {limit}; expected at least {SMALLEST}: raise it with "
                "kafka-configs --alter"
            )
    if limits.client < SMALLEST:
        raise SettingsError(
            f"kafka.librdkafka: message.max.bytes = {limits.client}; expected at least {SMALLEST}"
        )
    batch, room = int(clients.properties.get("batch.size", 0)), limits.room(*topics)
    if batch > room:
        raise SettingsError(
            f"kafka.librdkafka: batch.size = {batch}; expected at most {room}, for {PROPERTY} of "
            f"one of {', '.join(topics)} allows no more"
        )
    return limits


def _ask(admin: AdminClient, topics: Collection[str]) -> dict[str, int]:
    """Topic → its limit; Kafka's default where this user may not ask, or there is no topic."""
    asked = admin.describe_configs([ConfigResource(ResourceType.TOPIC, name) for name in topics])
    found = {}
    for resource, future in asked.items():
        try:
            found[resource.name] = int(future.result(REQUEST_SECONDS)[PROPERTY].value)
        except KafkaException as exception:
            _require_refusal(resource.name, exception)
            found[resource.name] = KAFKA_DEFAULT
    return found


def _require_refusal(topic: str, exception: KafkaException) -> None:
    """Raise TopicError unless this user lacks the right to ask, or there is no topic."""
    error = exception.args[0]
    if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
        return
    if not is_refusal(error):
        raise TopicError(
            f"{topic}: its {PROPERTY} is not known: {error.str()}; start again once its broker "
            "answers"
        ) from exception
    log.warning(
        f"cannot ask for {PROPERTY}: allow this user DescribeConfigs on the topic; continuing with "
        "Kafka's default",
        topic=topic,
        bytes=KAFKA_DEFAULT,
        reason=error.str(),
    )
