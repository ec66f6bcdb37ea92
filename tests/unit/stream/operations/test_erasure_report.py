from __future__ import annotations

from ader_stream.stream.avro.codec import encode
from ader_stream.stream.model_registry.manifest_record import Trust
from ader_stream.stream.model_registry.registry import Registry
from ader_stream.stream.operations.erasure_report import KeyData, look_for, report_of
from ader_stream.stream.sessions.open.session import OpenSession
from ader_stream.stream.sessions.records.dead_letter import KEY_BYTES
from ader_stream.stream.sessions.records.partition_state import encode_full, full_key
from ader_stream.stream.topics.topics import Topics
from tests.fakes import FakeKafka, changed, complete_manifest, example

TOPICS = Topics("ader")
CLICKS = {"times": [1], "items": ["x"], "carried": [], "extra": []}


def registry(next_offset: int) -> Registry:
    """Version 1, trained on partition 1's sessions below an offset."""
    found = Registry(Trust())
    places = [{"partition": 1, "first_offset": 0, "next_offset": next_offset}]
    found.manifests[1] = complete_manifest(1, run={"offsets": places})
    return found


def sessions(kafka: FakeKafka, *keys: str) -> None:
    session = [{"key": key} | CLICKS for key in keys]
    batch = example("SessionBatch") | {"partition": 1, "sessions": session}
    value, headers = encode("SessionBatch", batch)
    kafka.append(TOPICS.sessions, value, "1", headers, partition=1)


def test_all_that_is_held_of_a_key_is_found() -> None:
    kafka = FakeKafka()
    sessions(kafka, "a", "b")
    sessions(kafka, "a")
    state = example("OpenSessions") | {"sessions": [{"block": 0, "is_full": False} | CLICKS]}
    for key in ("a", "b"):
        value, headers = encode("OpenSessions", state)
        kafka.append(TOPICS.sessionizer_state, value, key, headers, partition=1)
    kafka.append(TOPICS.dead_letters, b"", "a", [], partition=0)
    held = look_for(kafka, TOPICS, 2, registry(next_offset=1), "a")
    assert held == KeyData(1, 1, 1, {1}, {1}, 1, {0, 1})


def test_what_the_changelog_has_deleted_is_not_held() -> None:
    kafka = FakeKafka()
    value, headers = encode("OpenSessions", example("OpenSessions"))
    kafka.append(TOPICS.sessionizer_state, value, "a", headers, partition=1)
    kafka.append(TOPICS.sessionizer_state, None, "a", partition=1)
    assert look_for(kafka, TOPICS, 2, Registry(Trust()), "a") == KeyData()


def test_the_report_says_what_goes_when_and_what_cannot_be_reached() -> None:
    held, known = KeyData(2, 1, 3, {2}, {1, 2}, 4, {0}), registry(next_offset=9)
    report = report_of(held, known, TOPICS, asked_offset=7)
    assert report["dropped_with_the_next_transaction"] == {"open_sessions": 2}
    assert report["skipped_by_the_trainer"] == {"sessions": 1}
    assert report["nothing_read_from_version"] == 2
    assert report["unless_it_was_being_published"] == 3
    assert "run.control_offset is above 7" in str(report["proof"])
    assert report["goes_with_the_trim"] == {
        "sessions": 4,
        "topic": TOPICS.sessions,
        "when": "`ader-stream models prune --keep 2`, once the versions [1, 2] and the next ones, "
        "which skip them, are not kept any more",
    }
    reach = str(report["out_of_reach"])
    reported = ("your own topic", "4 of the key", "weights of the versions [2]", "exemplars")
    assert all(text in reach for text in reported)


def test_where_old_versions_go_by_themselves_the_report_says_so() -> None:
    held = KeyData(read_sessions=1, read_by={1}, held_by={1})
    report = report_of(held, registry(next_offset=9), TOPICS, asked_offset=7, keep=3)
    assert "the trainer does it (models.keep = 3), once" in str(report["goes_with_the_trim"])


def test_of_a_key_that_nobody_knows_nothing_goes() -> None:
    report = report_of(KeyData(), registry(next_offset=9), TOPICS, asked_offset=7)
    assert report["goes_with_the_trim"] == {
        "sessions": 0,
        "topic": TOPICS.sessions,
        "when": "there are none",
    }


def test_an_earlier_version_that_is_kept_holds_later_sessions_from_the_trim() -> None:
    """Records are deleted from the beginning of a partition alone."""
    kafka, known = FakeKafka(), registry(next_offset=1)
    places = [{"partition": 1, "first_offset": 1, "next_offset": 2}]
    known.manifests[2] = complete_manifest(2, run={"offsets": places})
    sessions(kafka, "a")
    sessions(kafka, "b")
    held = {key: look_for(kafka, TOPICS, 2, known, key) for key in ("a", "b")}
    assert (held["a"].read_by, held["a"].held_by) == ({1}, {1})
    assert (held["b"].read_by, held["b"].held_by) == ({2}, {1, 2})
    known.remove(1)
    assert look_for(kafka, TOPICS, 2, known, "b").held_by == {2}


def test_sessions_that_versions_learnt_before_a_reset_are_read_and_hold_no_trim() -> None:
    kafka, known = FakeKafka(), registry(next_offset=9)
    run = {"sessions_topic_id": "before", "first_time": 0, "last_time": 1, "published_at": 9}
    known.manifests[1] = changed(known.manifests[1], run=run)
    sessions(kafka, "a")
    held = look_for(kafka, TOPICS, 2, known, "a")
    assert (held.read_sessions, held.read_by, held.held_by) == (1, {1}, set())


def test_full_sessions_and_truncated_letters_of_the_key_are_found() -> None:
    kafka = FakeKafka()
    key = "k" * 5_000
    for number, of in enumerate((key, key, "b")):
        session = OpenSession.of(of, 3, [number], ["x"])
        name, value, headers = encode_full(1, session)
        kafka.append(TOPICS.sessionizer_state, value, name, headers, partition=1)
    kafka.append(
        TOPICS.sessionizer_state, None, full_key(OpenSession.of(key, 3, [0], ["x"])), None, 1
    )
    kafka.append(TOPICS.dead_letters, b"", key[:KEY_BYTES], [], partition=1)
    assert look_for(kafka, TOPICS, 2, Registry(Trust()), key) == KeyData(
        1, dead_letters=1, partitions={1}
    )
