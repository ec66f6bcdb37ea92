"""The topics: their names, partitions and configuration; create and check them."""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, NamedTuple

import structlog
from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (
    AdminClient,
    ClusterMetadata,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

from ader_stream.errors import TopicError
from ader_stream.stream.kafka.clients import MAX_RECORD_BYTES
from ader_stream.stream.kafka.rights import CLUSTER, Right, authorization_error_or
from ader_stream.stream.topics.durability import AS_THE_CLUSTER, Durability
from ader_stream.types import DAY_MS

log = structlog.get_logger(__name__)

ADMIN_TIMEOUT = 30.0
"""Seconds that an administrative request may take."""

NEAR_NAMES = 3
"""Most topics that are suggested for a misspelled name."""

NEAR_ENOUGH = 0.75
"""Least share of common letters of two similar names: two swapped letters leave 0.9."""

SEEN_POLL_SECONDS = 0.05

# All properties that can lose a record are set for each topic: the defaults of a cluster may
# differ.
_SAFE = {"unclean.leader.election.enable": "false"}
_LARGE = {"max.message.bytes": str(MAX_RECORD_BYTES)}
_FOREVER = _SAFE | {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
_FOR_A_WEEK = {"retention.ms": str(7 * DAY_MS), "retention.bytes": "-1"}
_COMPACT = {
    **_FOREVER,
    **_LARGE,
    "cleanup.policy": "compact",
    "min.cleanable.dirty.ratio": "0.1",
    # A reader from the start must find the tombstone of each record that it has read: it has a day.
    "delete.retention.ms": str(DAY_MS),
    "min.compaction.lag.ms": "0",  # erased records must not be kept for longer
}


@dataclass(frozen=True)
class Topics:
    """Names of the topics, and their configuration.

    Parameters
    ----------
    prefix
        Start of the names of our topics.
    clicks_name
        The user's own clicks topic; empty if it is one of ours, too.
    durability
        Replication of our topics.

    >>> Topics("ader").sessions, Topics("ader", "shop.clicks").clicks
    ('ader.sessions', 'shop.clicks')
    """

    prefix: str
    clicks_name: str = ""
    durability: Durability = AS_THE_CLUSTER

    @property
    def clicks(self) -> str:
        """Name of the user's clicks: the input."""
        return self.clicks_name or f"{self.prefix}.clicks"

    @property
    def sessions(self) -> str:
        """Name of the topic of closed sessions and block ends."""
        return f"{self.prefix}.sessions"

    @property
    def sessionizer_state(self) -> str:
        """Name of the changelog of open sessions."""
        return f"{self.prefix}.sessionizer-state"

    @property
    def watermarks(self) -> str:
        """Name of the topic with the stream time of every input partition: hints."""
        return f"{self.prefix}.watermarks"

    @property
    def models(self) -> str:
        """Name of the topic of manifests."""
        return f"{self.prefix}.models"

    @property
    def model_chunks(self) -> str:
        """Name of the topic with the bytes of the artifacts."""
        return f"{self.prefix}.model-chunks"

    @property
    def serving(self) -> str:
        """Name of the topic with the version that each worker serves."""
        return f"{self.prefix}.serving"

    @property
    def scores(self) -> str:
        """Name of the topic of prequential counts."""
        return f"{self.prefix}.scores"

    @property
    def recommendations(self) -> str:
        """Name of the topic with the top k after each click, if that is switched on."""
        return f"{self.prefix}.recommendations"

    @property
    def dead_letters(self) -> str:
        """Name of the topic of refused clicks."""
        return f"{self.prefix}.dead-letters"

    @property
    def control(self) -> str:
        """Name of the topic of commands to the workers."""
        return f"{self.prefix}.control"

    @property
    def monitor_state(self) -> str:
        """Name of the changelog of the monitor's statistics."""
        return f"{self.prefix}.monitor-state"

    def group(self, process: str) -> str:
        """Return the consumer group of a process, and the start of its transactional ids."""
        return f"{self.prefix}.{process}"

    def specifications(self, partitions: int) -> Iterator[tuple[str, int, dict[str, str]]]:
        """Yield (name, partitions, configuration) of every topic.

        `clicks` keeps its records for ever here, because retention depends on the record's
        timestamp and replayed clicks may have an old one; the user configures a topic of their own.
        """
        yield self.clicks, partitions, _FOREVER
        yield self.sessions, partitions, _FOREVER | _LARGE
        yield self.sessionizer_state, partitions, _COMPACT
        yield self.watermarks, 1, _COMPACT
        yield self.models, 1, _COMPACT
        yield self.model_chunks, 1, _COMPACT
        yield self.serving, 1, _COMPACT
        yield self.scores, 1, _COMPACT
        yield (
            self.recommendations,
            partitions,
            _COMPACT | _FOR_A_WEEK | {"cleanup.policy": "compact,delete"},
        )
        yield self.dead_letters, partitions, _FOREVER | _LARGE | _FOR_A_WEEK
        yield self.control, 1, _COMPACT
        yield self.monitor_state, 1, _COMPACT

    def needed_configs(self) -> dict[str, dict[str, str]]:
        """Return topic → its configuration, of our topics; the user configures the clicks."""
        needed = {name: config for name, _, config in self.specifications(1)}
        clicks = needed.pop(self.clicks)
        if self.owns_clicks:
            needed[self.clicks] = {k: v for k, v in clicks.items() if k in _SAFE}
        return needed

    @property
    def owns_clicks(self) -> bool:
        """Return whether the clicks topic is one of ours."""
        return self.clicks in ("", f"{self.prefix}.clicks")


def create_topics(
    admin: AdminClient, topics: Topics, partitions: int, *, with_clicks: bool = False
) -> list[str]:
    """Create missing topics and return the names; an existing clicks topic decides `partitions`.

    On return the topics are visible: a controller reports a topic as created before brokers know
    it.

    Parameters
    ----------
    with_clicks
        Also create a clicks topic that the user has named: it may be misspelled.

    Raises
    ------
    TopicError
        If the user's clicks topic does not exist, or the broker refuses one.
    """
    cluster = admin.list_topics(timeout=ADMIN_TIMEOUT)
    existing = _counts(cluster)
    if not (topics.owns_clicks or with_clicks):
        require_clicks(topics, existing)
    partitions = existing.get(topics.clicks, partitions)
    replication = topics.durability.for_new_topics(cluster, topics.clicks)
    safe = replication.config(replication.factor)
    missing = [
        NewTopic(name, count, replication_factor=replication.factor, config=config | safe)
        for name, count, config in topics.specifications(partitions)
        if name not in existing
    ]
    for name, future in admin.create_topics(missing).items() if missing else ():
        try:
            future.result(ADMIN_TIMEOUT)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                reason = TopicError(f"cannot create topic {name}: {error.args[0].str()}")
                raise authorization_error_or(
                    error, Right("Topic", name, ("Create",)), reason
                ) from None
    names = [topic.topic for topic in missing]
    _wait_until_seen(admin, names)
    return names


def check_topics(admin: AdminClient, topics: Topics) -> int:
    """Return the number of input partitions; every topic must exist and match it.

    Raises
    ------
    TopicError
        Names each topic that is missing or has the wrong number of partitions.
    """
    existing = partition_counts(admin)
    if not topics.owns_clicks:
        require_clicks(topics, existing)
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
            f"({partitions}), the others one; {_remedy(topics, existing, partitions)}"
        )
    return partitions


def _remedy(topics: Topics, existing: Mapping[str, int], partitions: int) -> str:
    """Return the remedy for wrong topics: partitions can be added, but never removed."""
    too_large = {
        name
        for name, count, _ in topics.specifications(partitions or 1)
        if existing.get(name, 0) > count and name != topics.clicks
    }
    if not too_large:
        return "`ader-stream topics create` creates what is missing"
    models = {topics.models, topics.model_chunks, topics.control}
    options = [
        *(["--models"] if too_large & models else []),
        *(["--dead-letters"] if topics.dead_letters in too_large else []),
    ]
    return (
        "partitions cannot be removed: stop all workers, and start again with "
        f"`{' '.join(['ader-stream reset', *options, '--yes'])}`"
    )


def grow_topics(admin: AdminClient, topics: Topics) -> None:
    """Add the partitions to our topics that the clicks topic has got since they were created.

    Raises
    ------
    TopicError
        If the broker refuses.
    """
    existing = partition_counts(admin)
    wanted = {
        name: count
        for name, count, _ in topics.specifications(existing.get(topics.clicks, 0))
        if existing.get(name, count) < count
    }
    if not wanted:
        return
    log.info("topics grow", topics=sorted(wanted), partitions=existing[topics.clicks])
    grown = admin.create_partitions([NewPartitions(*name_count) for name_count in wanted.items()])
    for name, future in grown.items():
        try:
            future.result(ADMIN_TIMEOUT)
        except KafkaException as error:  # INVALID_PARTITIONS: another worker was faster
            if error.args[0].code() != KafkaError.INVALID_PARTITIONS:
                reason = TopicError(f"cannot grow topic {name}: {error.args[0].str()}")
                raise authorization_error_or(
                    error, Right("Topic", name, ("Alter",)), reason
                ) from None
    _wait_until(
        lambda: [name for name, count in wanted.items() if partition_counts(admin)[name] < count]
    )


class TopicFacts(NamedTuple):
    """Properties that distinguish a topic from another one of the same name.

    Parameters
    ----------
    id
        Kafka's id: a topic that was deleted and created again has another.
    partitions
        Number of partitions.
    """

    id: str
    partitions: int


def describe_topic(admin: AdminClient, topic: str) -> TopicFacts:
    """Describe a topic; raise TopicError if that fails."""
    [future] = admin.describe_topics(TopicCollection([topic])).values()
    try:
        described = future.result(ADMIN_TIMEOUT)
        return TopicFacts(str(described.topic_id), len(described.partitions))
    except KafkaException as error:
        reason = TopicError(f"cannot describe {topic}: {error.args[0].str()}")
        raise authorization_error_or(error, Right("Topic", topic, ("Describe",)), reason) from None


def topic_id(admin: AdminClient, topic: str) -> str:
    """Return Kafka's id of a topic; raise TopicError if that fails."""
    return describe_topic(admin, topic).id


def read_config(resource: ConfigResource, future: Future[Any]) -> dict[str, str]:
    """Wait for the properties of a topic or broker, and return them.

    Raises
    ------
    AuthorizationError
        If the user may not read them.
    TopicError
        If the broker refuses for another reason.
    """
    try:
        entries = future.result(ADMIN_TIMEOUT)
    except KafkaException as error:
        reason = TopicError(f"cannot read the properties of {resource}: {error.args[0].str()}")
        raise authorization_error_or(error, _right_to_read(resource), reason) from None
    return {name: entry.value for name, entry in entries.items() if entry.value is not None}


def _right_to_read(resource: ConfigResource) -> Right:
    if resource.restype == ResourceType.TOPIC:
        return Right("Topic", resource.name, ("DescribeConfigs",))
    return Right("Cluster", CLUSTER, ("DescribeConfigs",))


def _wait_until_seen(admin: AdminClient, names: list[str]) -> None:
    _wait_until(lambda: set(names) - partition_counts(admin).keys())


def _wait_until(unseen: Callable[[], Collection[str]]) -> None:
    """Wait until every created topic is visible."""
    deadline = time.monotonic() + ADMIN_TIMEOUT
    while names := unseen():
        if time.monotonic() > deadline:
            raise TopicError(
                f"created, but not visible within {ADMIN_TIMEOUT:g} s: "
                f"{', '.join(sorted(names))}; see the brokers' logs and try again"
            )
        time.sleep(SEEN_POLL_SECONDS)


def partition_counts(admin: AdminClient) -> dict[str, int]:
    """Return every topic of the cluster and its number of partitions."""
    return _counts(admin.list_topics(timeout=ADMIN_TIMEOUT))


def _counts(cluster: ClusterMetadata) -> dict[str, int]:
    return {name: len(topic.partitions) for name, topic in cluster.topics.items()}


def near_names(topics: Topics, existing: Collection[str]) -> list[str]:
    """Return topics of which clicks.topic may be a misspelling, the most similar ones first.

    Topics with the own prefix are before those of other systems; none that ader-stream writes is
    among them.

    >>> near_names(Topics("shop", "shop.click"), ["test.clicks", "shop.clicks", "shop.sessions"])
    ['shop.clicks']
    """
    ours = {name for name, *_ in topics.specifications(1)}
    others = [name for name in existing if name not in ours and not name.startswith("__")]
    near = difflib.get_close_matches(topics.clicks, others, max(1, len(others)), NEAR_ENOUGH)
    return sorted(near, key=lambda name: not name.startswith(f"{topics.prefix}."))


def require_clicks(topics: Topics, existing: Collection[str]) -> None:
    """Raise `TopicError` if the user's clicks topic does not exist, with similar names."""
    if topics.clicks in existing:
        return
    near = near_names(topics, existing)[:NEAR_NAMES]
    meant = f"did you mean {' or '.join(near)}? S" if near else "s"
    raise TopicError(
        f"clicks.topic = {topics.clicks}: no such topic; {meant}et clicks.topic "
        "(ADER_CLICKS_TOPIC) to an existing one, or create it: `ader-stream topics create "
        "--with-clicks`"
    )
