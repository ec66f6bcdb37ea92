"""Delete topics, and create them again: empty, with the same configuration."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (
    AdminClient,
    ConfigResource,
    ConfigSource,
    NewTopic,
    ResourceType,
)

from ader_stream.errors import TopicError
from ader_stream.stream.topics.topics import ADMIN_TIMEOUT, SEEN_POLL_SECONDS, partition_counts


@dataclass(frozen=True)
class TopicSpec:
    """Properties of a topic, without its records.

    Parameters
    ----------
    name, partitions, replication_factor
        As Kafka reports them.
    config
        Properties that were set for this topic, without the broker's defaults.
    """

    name: str
    partitions: int
    replication_factor: int
    config: Mapping[str, str] = field(default_factory=dict)


def specs_of(admin: AdminClient, names: Iterable[str]) -> list[TopicSpec]:
    """Return the specifications of existing topics, in the order of their names."""
    existing = partition_counts(admin)
    found = [name for name in names if name in existing]
    if not found:
        return []
    described = admin.describe_topics(TopicCollection(found))
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in found]
    configs = {
        resource.name: answer for resource, answer in admin.describe_configs(resources).items()
    }
    return [_shape(name, described[name], configs[name]) for name in found]


def delete_topics(admin: AdminClient, names: Sequence[str]) -> None:
    """Delete topics; one that does not exist is no error.

    Raises
    ------
    TopicError
        If the broker refuses.
    """
    for name, answer in admin.delete_topics(list(names)).items() if names else ():
        _result(answer, f"cannot delete topic {name}", passed=KafkaError.UNKNOWN_TOPIC_OR_PART)
    _wait_until(lambda: sorted(set(names) & partition_counts(admin).keys()), "deleted, but seen")


def make_topics(admin: AdminClient, specs: Sequence[TopicSpec]) -> None:
    """Create topics, and wait until they are visible; wait for one that is being deleted.

    Raises
    ------
    TopicError
        If the broker refuses.
    """
    left, until = {spec.name: _new(spec) for spec in specs}, time.monotonic() + ADMIN_TIMEOUT
    while left:
        answers = admin.create_topics(list(left.values()))
        is_over = time.monotonic() > until
        for name, answer in answers.items():
            exists = None if is_over else KafkaError.TOPIC_ALREADY_EXISTS
            if _result(answer, f"cannot create topic {name}", passed=exists):
                del left[name]
        time.sleep(SEEN_POLL_SECONDS if left else 0)
    names = {spec.name for spec in specs}
    _wait_until(lambda: sorted(names - partition_counts(admin).keys()), "created, but not seen")


def _shape(name: str, described: Any, configured: Any) -> TopicSpec:
    topic = described.result(ADMIN_TIMEOUT)
    entries = configured.result(ADMIN_TIMEOUT)
    own = ConfigSource.DYNAMIC_TOPIC_CONFIG.value
    config = {key: entry.value for key, entry in entries.items() if entry.source == own}
    return TopicSpec(name, len(topic.partitions), len(topic.partitions[0].replicas), config)


def _new(spec: TopicSpec) -> NewTopic:
    return NewTopic(
        spec.name,
        spec.partitions,
        replication_factor=spec.replication_factor,
        config=dict(spec.config),
    )


def _result(answer: Any, what: str, passed: int | None) -> bool:
    """Wait for an answer; return False for the error that is accepted."""
    try:
        answer.result(ADMIN_TIMEOUT)
    except KafkaException as exception:
        error = exception.args[0]
        if error.code() != passed:
            raise TopicError(f"{what}: {error.str()}") from None
        return False
    return True


def _wait_until(left: Callable[[], list[str]], what: str) -> None:
    until = time.monotonic() + ADMIN_TIMEOUT
    while names := left():
        if time.monotonic() > until:
            raise TopicError(f"{what} after {ADMIN_TIMEOUT:g} s: {', '.join(names)}; try again")
        time.sleep(SEEN_POLL_SECONDS)
