from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty, Queue

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ader_stream.errors import ArtifactError
from ader_stream.stream.control.commands import (
    Command,
    ask,
    commands_in,
    decode_command,
    last_of_each,
    withdraw,
)
from ader_stream.stream.control.rules_log import LoggedRules, read_logged_rules
from ader_stream.stream.model_registry.manifest_record import Trust, encode_manifest
from ader_stream.stream.model_registry.model_log import ModelPublisher
from ader_stream.stream.model_registry.registry import (
    Registry,
    RegistryFollower,
    read_registry,
    refuse_none,
    registry_reader,
)
from ader_stream.stream.model_registry.signing import Signer
from ader_stream.stream.topics.topics import Topics
from ader_stream.types import BlockRule
from tests.fakes import FakeKafka, complete_manifest, example_manifest

TOPICS = Topics("ader")
PARTS = dict.fromkeys(("weights", "vocabulary", "exemplars", "optimizer"), b"part")
SECONDS = 20
"""Longest wait for the thread, which needs milliseconds."""


def publish(kafka: FakeKafka, *versions: int) -> None:
    publisher = ModelPublisher(kafka, TOPICS, 100)
    for version in versions:
        publisher.publish(example_manifest(version), PARTS)


def served(registry: Registry) -> int | None:
    return registry.roles.served


# --- commands


@pytest.mark.parametrize(
    "command",
    [
        Command("pin", 3, share=0.5, at=1),
        Command("rollback", 2, newest=4, at=2),
        Command("prune", versions=(1, 2), at=3),
        Command("forget", key_hash=b"\xff\0", salt=b"s", at=4),
        Command("forget", key_hash=b"k", salt=b"s", at=7, clicks_end=(5, 0), clicks_id="id"),
        Command("blocks", block_rule=BlockRule(1, 2).changed(3, 4, 5), at=5),
        Command("rules", rules={"sessions.gap": "30m"}, at=6),
    ],
)
def test_a_command_comes_back(kafka: FakeKafka, command: Command) -> None:
    ask(kafka, TOPICS, command)
    [record] = kafka.records(TOPICS.control)
    assert decode_command(record) == command
    assert record.key() == command.key.encode()


def test_its_offset_is_reported_and_known_by_who_has_read_it(kafka: FakeKafka) -> None:
    registry = Registry(Trust())
    assert registry.control_offset == 0
    offsets = [ask(kafka, TOPICS, Command(name)) for name in ("unpin", "unpin")]
    for record in kafka.records(TOPICS.control):
        registry.take_command(record)
    assert (offsets, registry.control_offset) == ([0, 1], 2)


def test_a_command_has_the_time_at_which_it_was_asked(kafka: FakeKafka) -> None:
    ask(kafka, TOPICS, Command("unpin"))
    assert decode_command(kafka.records(TOPICS.control)[0]).at > 1_700_000_000_000


def test_only_a_forget_has_a_key_of_its_own() -> None:
    one, other = (Command("forget", key_hash=hash_) for hash_ in (b"1", b"2"))
    commands = [Command("pin", 1), one, Command("pin", 2), other]
    assert last_of_each(commands) == [one, Command("pin", 2), other]


def test_what_was_withdrawn_counts_no_more_but_requests_to_erase_keys_do(kafka: FakeKafka) -> None:
    rule = BlockRule(0, 1)
    for command in (
        Command("pin", 1),
        Command("forget", key_hash=b"k", salt=b"s"),
        Command("blocks", block_rule=rule),
    ):
        ask(kafka, TOPICS, command)
    assert commands_in(kafka, TOPICS) == ["pin", "blocks"]
    withdraw(kafka, TOPICS, commands_in(kafka, TOPICS))
    assert commands_in(kafka, TOPICS) == []
    registry = read_registry(kafka, TOPICS, Trust())
    assert (registry.commands, len(registry.erasures)) == ([], 1)
    assert registry.rules == read_logged_rules(kafka, TOPICS) == LoggedRules()


# --- reading


def test_what_was_published_and_asked_is_there(kafka: FakeKafka) -> None:
    publish(kafka, 1, 2, 3)
    ask(kafka, TOPICS, Command("pin", 2))
    registry = read_registry(kafka, TOPICS, Trust())
    assert sorted(registry.manifests) == [1, 2, 3]
    assert served(registry) == 2
    assert registry.newest == registry.manifests[3]


def test_what_comes_is_taken_by_the_next_poll(kafka: FakeKafka) -> None:
    reader = registry_reader(kafka, TOPICS, registry := Registry(Trust()))
    assert registry.newest is None
    assert not reader.poll()
    publish(kafka, 1, 2)
    ask(kafka, TOPICS, Command("rollback", 1, newest=2))
    assert reader.poll()
    assert registry.roles.parent == 1
    assert not reader.poll()


def test_a_manifest_that_cannot_be_taken_is_reported(kafka: FakeKafka) -> None:
    publish(kafka, 1)
    kafka.append(TOPICS.models, b"nonsense", "2", [])
    refused: list[ArtifactError] = []
    registry = Registry(Trust(), refused.append)
    registry_reader(kafka, TOPICS, registry)
    assert (sorted(registry.manifests), len(refused)) == ([1], 1)
    with pytest.raises(ArtifactError):
        registry_reader(kafka, TOPICS, Registry(Trust(), refuse_none))


def test_a_manifest_under_another_key_is_refused(kafka: FakeKafka) -> None:
    publish(kafka, 1)
    [record] = kafka.records(TOPICS.models)
    kafka.append(TOPICS.models, record.value(), "2", record.headers())
    with pytest.raises(ArtifactError, match="version 1 is under the key '2'"):
        read_registry(kafka, TOPICS, Trust())


def test_a_command_that_cannot_be_read_is_passed_over(kafka: FakeKafka) -> None:
    publish(kafka, 1)
    kafka.append(TOPICS.control, b"newer than this process", "pin", [])
    kafka.append(TOPICS.control, None, "pin")
    assert served(read_registry(kafka, TOPICS, Trust())) == 1


# --- following


@contextmanager
def following(
    kafka: FakeKafka, repeat: float = SECONDS
) -> Iterator[tuple[RegistryFollower, Queue[int | None]]]:
    """A follower, and the version that serves each time it has called."""
    reported: Queue[int | None] = Queue()
    registry = Registry(Trust())

    def tell() -> None:
        reported.put(served(registry))
        if served(registry) == 13:
            raise ZeroDivisionError("unlucky")

    follower = RegistryFollower(kafka, TOPICS, registry, tell, repeat)
    follower.start()
    try:
        yield follower, reported
    finally:
        follower.stop()


def test_what_stands_there_is_reported_before_the_start_returns(kafka: FakeKafka) -> None:
    publish(kafka, 1, 2)
    with following(kafka) as (_, reported):
        assert reported.get_nowait() == 2


def test_versions_and_commands_are_reported_as_they_come(kafka: FakeKafka) -> None:
    publish(kafka, 1)
    with following(kafka) as (follower, reported):
        assert reported.get_nowait() == 1
        publish(kafka, 2)
        assert reported.get(timeout=SECONDS) == 2
        ask(kafka, TOPICS, Command("pin", 1))
        assert reported.get(timeout=SECONDS) == 1
        with pytest.raises(Empty):
            reported.get_nowait()
        follower.check()


def test_it_is_reported_again_after_a_while_without_news(kafka: FakeKafka) -> None:
    with following(kafka, repeat=0.0) as (_, reported):
        assert [reported.get(timeout=SECONDS) for _ in range(3)] == [None] * 3


def test_an_error_of_any_kind_in_the_thread_is_raised_where_it_is_asked_for(
    kafka: FakeKafka,
) -> None:
    with following(kafka) as (follower, reported):
        reported.get_nowait()
        value, headers = encode_manifest(complete_manifest(13))
        kafka.append(TOPICS.models, value, "13", headers)
        reported.get(timeout=SECONDS)
        follower._thread.join(SECONDS)
        with pytest.raises(ZeroDivisionError):
            follower.check()


# --- signatures


def test_the_registry_says_who_has_signed_a_version(kafka: FakeKafka) -> None:
    signer = Signer(Ed25519PrivateKey.generate())
    publish(kafka, 1)
    ModelPublisher(kafka, TOPICS, 100, signer).publish(example_manifest(2), PARTS)
    registry = read_registry(kafka, TOPICS, Trust())
    assert registry.signers == {1: None, 2: signer.key_id}
    kafka.append(TOPICS.models, None, "2")
    assert read_registry(kafka, TOPICS, Trust()).signers == {1: None}
    registry.remove(1)
    assert (sorted(registry.manifests), registry.signers) == ([2], {2: signer.key_id})
