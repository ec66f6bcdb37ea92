"""What errors about topics tell their reader to run is run, to the letter, and helps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import NewPartitions, NewTopic

from ader_stream.stream.topics.topics import partition_counts
from tests.integration.remedies import commands_in, follow
from tests.integration.system import Kafka, System


@pytest.fixture
def system(kafka: Kafka, tmp_path: Path) -> Iterator[System]:
    with System(kafka.bootstrap_servers, tmp_path, partitions=2) as system:
        yield system


def complaint_of_check(system: System) -> str:
    done = system.command("topics", "check")
    assert done.returncode == 1, done.stdout
    return done.stderr


def is_sound(system: System) -> bool:
    return system.command("topics", "check").returncode == 0


def counts(system: System) -> dict[str, int]:
    return partition_counts(system.clients.admin())


def remove(system: System, *names: str) -> None:
    admin = system.clients.admin()
    for answer in admin.delete_topics([*names]).values():
        answer.result(30)
    system.wait_until(lambda: not counts(system).keys() & {*names}, "they are gone")


def test_a_topic_that_is_missing_is_made(system: System) -> None:
    remove(system, system.topics.scores, system.topics.sessions)
    follow(system, complaint_of_check(system))
    assert is_sound(system)


def test_partitions_that_the_clicks_have_been_given_are_added_to_ours(system: System) -> None:
    admin, clicks = system.clients.admin(), system.topics.clicks
    [answer] = admin.create_partitions([NewPartitions(clicks, 3)]).values()
    answer.result(30)
    system.wait_until(lambda: counts(system)[clicks] == 3, "the clicks have three")
    follow(system, complaint_of_check(system))
    assert is_sound(system)


def test_after_clicks_with_fewer_partitions_everything_begins_again(system: System) -> None:
    clicks = system.topics.clicks
    remove(system, clicks)
    admin = system.clients.admin()
    [answer] = admin.create_topics([NewTopic(clicks, 1)]).values()
    answer.result(30)
    system.wait_until(lambda: counts(system).get(clicks) == 1, "the clicks have one")
    complaint = complaint_of_check(system)
    assert commands_in(complaint) == [["reset", "--dead-letters", "--yes"]]
    follow(system, complaint)
    assert is_sound(system)
