"""Consumer groups seen from outside: members, committed offsets, and extents of logs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple, cast

from confluent_kafka import (
    ConsumerGroupState,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, OffsetSpec

from ader_stream.errors import TopicError
from ader_stream.stream.kafka.clients import KafkaClients, close
from ader_stream.stream.kafka.reading import REQUEST_TIMEOUT
from ader_stream.stream.topics.topics import ADMIN_TIMEOUT

EARLIEST, LATEST = (cast("Any", OffsetSpec)(spec) for spec in (-2, -1))


class Committed(NamedTuple):
    """The next offset that a group has committed for a partition, and its metadata."""

    offset: int
    metadata: str = ""


class Extent(NamedTuple):
    """First offset of a partition's log, and the one after its last record, committed or not."""

    first: int
    end: int


def members_of(admin: AdminClient, groups: Sequence[str]) -> dict[str, list[str]]:
    """Return group → its members as client id and host, for groups with members.

    A killed process stays a member until its session times out.
    """
    found = {}
    for group, answer in admin.describe_consumer_groups(list(groups)).items():
        described = answer.result(ADMIN_TIMEOUT)
        members = [f"{member.client_id} at {member.host}" for member in described.members]
        if members and described.state != ConsumerGroupState.DEAD:
            found[group] = members
    return found


def delete_groups(admin: AdminClient, groups: Sequence[str]) -> None:
    """Delete groups and their offsets; one that does not exist is no error.

    Raises
    ------
    TopicError
        If the broker refuses: a worker has joined one meanwhile.
    """
    for group, answer in admin.delete_consumer_groups(list(groups)).items():
        try:
            answer.result(ADMIN_TIMEOUT)
        except KafkaException as exception:
            error = exception.args[0]
            if error.code() != KafkaError.GROUP_ID_NOT_FOUND:
                raise TopicError(f"cannot delete group {group}: {error.str()}") from None


def commit_group_offsets(
    admin: AdminClient, groups: Sequence[str], topic: str, offsets: Mapping[int, int]
) -> None:
    """Commit offsets (by partition) for groups without members.

    Raises
    ------
    TopicError
        If the broker refuses: a worker has joined one meanwhile.
    """
    places = [TopicPartition(topic, partition, offset) for partition, offset in offsets.items()]
    for group in groups:
        [answer] = admin.alter_consumer_group_offsets(
            [ConsumerGroupTopicPartitions(group, places)]
        ).values()
        try:
            answer.result(ADMIN_TIMEOUT)
        except KafkaException as exception:
            error = exception.args[0].str()
            raise TopicError(f"cannot set the offsets of group {group}: {error}") from None


def committed_by(
    clients: KafkaClients, group: str, topic: str, partitions: Collection[int]
) -> dict[int, Committed]:
    """Return partition → the group's committed offset and metadata, without joining the group.

    Raises
    ------
    KafkaException
        If the broker does not answer: it would look as if nothing was ever committed.
    """
    consumer = clients.group_consumer(group)
    try:
        asked = [TopicPartition(topic, partition) for partition in partitions]
        places = consumer.committed(asked, timeout=REQUEST_TIMEOUT) if asked else []
    finally:
        close(consumer)
    for place in places:
        if place.error:
            raise KafkaException(place.error)
    return {
        place.partition: Committed(place.offset, place.metadata or "")
        for place in places
        if place.offset >= 0
    }


def extents(admin: AdminClient, topic: str, partitions: Collection[int]) -> dict[int, Extent]:
    """Return partition → extent of its log, with two requests for all partitions.

    Raises
    ------
    KafkaException
        If the broker does not answer.
    """
    first = _offsets(admin, topic, partitions, EARLIEST)
    end = _offsets(admin, topic, partitions, LATEST)
    return {partition: Extent(first[partition], end[partition]) for partition in partitions}


def _offsets(
    admin: AdminClient, topic: str, partitions: Collection[int], spec: OffsetSpec
) -> dict[int, int]:
    asked = {TopicPartition(topic, partition): spec for partition in partitions}
    answers = admin.list_offsets(asked) if asked else {}
    return {
        place.partition: int(answer.result(ADMIN_TIMEOUT).offset)
        for place, answer in answers.items()
    }
