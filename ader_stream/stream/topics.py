"""The topics: their names, partitions and cleanup, made and checked."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from ader_stream.errors import TopicError
from ader_stream.stream.clients import MAX_RECORD_BYTES

ADMIN_TIMEOUT = 30.0
"""Seconds that an administrative request may take."""

SEEN_POLL_SECONDS = 0.05

_FOREVER = {"retention.ms": "-1"}
_COMPACT = {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.1"}
_LARGE = {"max.message.bytes": str(MAX_RECORD_BYTES)}


@dataclass(frozen=True)
class Topics:
    """Names of the topics; `clicks_name` is the user's own where it is not empty.

    >>> Topics("ader").sessions, Topics("ader", "shop.clicks").clicks
    ('ader.sessions', 'shop.clicks')
    """

    prefix: str
    clicks_name: str = ""

    @property
    def clicks(self) -> str:
        """Input: the user's clicks."""
        return self.clicks_name or f"{self.prefix}.clicks"

    @property
    def sessions(self) -> str:
        """Closed sessions and block ends."""
        return f"{self.prefix}.sessions"

    @property
    def sessionizer_state(self) -> str:
        """Changelog of open sessions."""
        return f"{self.prefix}.sessionizer-state"

    @property
    def watermarks(self) -> str:
        """Stream time of every input partition: hints."""
        return f"{self.prefix}.watermarks"

    @property
    def models(self) -> str:
        """Manifests."""
        return f"{self.prefix}.models"

    @property
    def model_chunks(self) -> str:
        """Bytes of the artifacts."""
        return f"{self.prefix}.model-chunks"

    @property
    def serving(self) -> str:
        """What each worker serves."""
        return f"{self.prefix}.serving"

    @property
    def scores(self) -> str:
        """Prequential counts."""
        return f"{self.prefix}.scores"

    @property
    def recommendations(self) -> str:
        """Top-k after each click, where it is switched on."""
        return f"{self.prefix}.recommendations"

    @property
    def dead_letters(self) -> str:
        """Clicks that were refused."""
        return f"{self.prefix}.dead-letters"

    @property
    def control(self) -> str:
        """What commands ask of the workers."""
        return f"{self.prefix}.control"

    def group(self, process: str) -> str:
        """Consumer group of a process, and the start of its transactional ids."""
        return f"{self.prefix}.{process}"

    def specifications(self, partitions: int) -> Iterator[tuple[str, int, dict[str, str]]]:
        """(name, partitions, configuration) of every topic.

        `clicks` keeps its records forever here, because retention goes by the record's timestamp
        and replayed clicks may carry an old one; the user's own topic is the user's to configure.
        """
        yield self.clicks, partitions, _FOREVER
        yield self.sessions, partitions, _FOREVER | _LARGE
        yield self.sessionizer_state, partitions, _COMPACT | _LARGE
        yield self.watermarks, 1, _COMPACT
        yield self.models, 1, _COMPACT
        yield self.model_chunks, 1, _COMPACT | _FOREVER
        yield self.serving, 1, _COMPACT
        yield self.scores, 1, _COMPACT
        yield self.recommendations, partitions, {"cleanup.policy": "compact,delete"}
        yield self.dead_letters, partitions, _LARGE
        yield self.control, 1, _COMPACT


def create_topics(admin: AdminClient, topics: Topics, partitions: int) -> list[str]:
    """Create what is missing and return the names; an existing clicks topic decides `partitions`.

    On return the topics can be seen: a controller says that one is created before brokers know it.

    Raises
    ------
    TopicError
        If the broker refuses one.
    """
    existing = partition_counts(admin)
    partitions = existing.get(topics.clicks, partitions)
    missing = [
        NewTopic(name, count, config=config)
        for name, count, config in topics.specifications(partitions)
        if name not in existing
    ]
    for name, future in admin.create_topics(missing).items() if missing else ():
        try:
            future.result(ADMIN_TIMEOUT)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise TopicError(f"cannot create topic {name}: {error.args[0].str()}") from None
    names = [topic.topic for topic in missing]
    _wait_until_seen(admin, names)
    return names


def check_topics(admin: AdminClient, topics: Topics) -> int:
    """Return the number of input partitions; every topic must be there and fit to it.

    Raises
    ------
    TopicError
        Naming each topic that is missing or has the wrong number of partitions.
    """
    existing = partition_counts(admin)
    partitions = existing.get(topics.clicks, 0)
    wrong = [
        f"{name} ({'missing' if name not in existing else f'{existing[name]} partitions'})"
        for name, count, _ in topics.specifications(partitions or 1)
        if existing.get(name) != count
    ]
    if wrong:
        raise TopicError(
            f"topics not as expected: {', '.join(wrong)}; sessions, sessionizer-state, "
            f"recommendations and dead-letters need as many partitions as {topics.clicks} "
            f"({partitions}), the others one; `ader-stream topics create` makes what is missing"
        )
    return partitions


def _wait_until_seen(admin: AdminClient, names: list[str]) -> None:
    deadline = time.monotonic() + ADMIN_TIMEOUT
    while unseen := set(names) - partition_counts(admin).keys():
        if time.monotonic() > deadline:
            raise TopicError(
                f"created, but not to be seen within {ADMIN_TIMEOUT:g} s: "
                f"{', '.join(sorted(unseen))}; look at the brokers' logs and try again"
            )
        time.sleep(SEEN_POLL_SECONDS)


def partition_counts(admin: AdminClient) -> dict[str, int]:
    """Every topic of the cluster and its number of partitions."""
    metadata = admin.list_topics(timeout=ADMIN_TIMEOUT)
    return {name: len(topic.partitions) for name, topic in metadata.topics.items()}
