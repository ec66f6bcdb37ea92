from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from queue import Queue
from typing import Any

import pytest

from ader_stream.stream.codec import decode, encode
from ader_stream.stream.manifest_follower import ManifestFollower
from tests.fakes import FakeKafka, FakeRecord, example

TOPIC = "models"
SECONDS = 20
"""Longest wait for the thread, which needs milliseconds."""

Taken = Queue[tuple[str, list[int]]]


def publish(kafka: FakeKafka, *versions: int) -> None:
    for version in versions:
        value, headers = encode("ModelManifest", example("ModelManifest") | {"version": version})
        kafka.append(TOPIC, value, str(version), headers)


def decoded(record: FakeRecord) -> Any:
    """The manifest in a record; None for any other."""
    return decode(record.value(), record.headers())[1] if record.headers() else None


@contextmanager
def following(kafka: FakeKafka) -> Iterator[tuple[ManifestFollower, Taken]]:
    """A follower, and what it hands on: standing or new, and the versions."""
    taken: Taken = Queue()

    def put(kind: str, manifests: list[Any]) -> None:
        taken.put((kind, [manifest["version"] for manifest in manifests]))
        if manifests and manifests[-1]["version"] == 13:
            raise ZeroDivisionError("unlucky")

    follower = ManifestFollower(
        kafka,
        TOPIC,
        decoded,
        lambda standing: put("standing", standing),
        lambda new: put("new", new),
    )
    follower.start()
    try:
        yield follower, taken
    finally:
        follower.stop()


def test_what_stands_there_is_handed_on_before_the_start_returns() -> None:
    kafka = FakeKafka()
    publish(kafka, 1, 2, 3)
    with following(kafka) as (_, taken):
        assert taken.get_nowait() == ("standing", [1, 2, 3])


def test_new_manifests_are_handed_on_as_they_come_each_once() -> None:
    kafka = FakeKafka()
    publish(kafka, 1)
    with following(kafka) as (follower, taken):
        taken.get_nowait()
        for version in (2, 3):
            publish(kafka, version)
            assert taken.get(timeout=SECONDS) == ("new", [version])
        follower.check()


def test_what_is_no_manifest_is_passed_over() -> None:
    kafka = FakeKafka()
    kafka.append(TOPIC, b"newer than this process", "9", [])
    kafka.append(TOPIC, None, "1")
    publish(kafka, 2)
    with following(kafka) as (_, taken):
        assert taken.get_nowait() == ("standing", [2])


def test_an_error_of_any_kind_in_the_thread_is_raised_where_it_is_asked_for() -> None:
    kafka = FakeKafka()
    with following(kafka) as (follower, taken):
        taken.get_nowait()
        publish(kafka, 13)
        taken.get(timeout=SECONDS)
        follower._thread.join(SECONDS)
        with pytest.raises(ZeroDivisionError):
            follower.check()
