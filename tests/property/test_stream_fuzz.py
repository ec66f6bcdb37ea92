from __future__ import annotations

from hypothesis import HealthCheck, settings

from tests.property.stream_machine import StreamMachine

TestStreams = StreamMachine.TestCase
TestStreams.settings = settings(
    max_examples=60,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def test_a_click_that_is_refused_while_the_stream_is_silent_becomes_a_dead_letter_at_once() -> None:
    stream = StreamMachine()
    stream.begin(held_offsets=6, event_ids=1000, late="dead-letter", max_clicks=1000, lateness=0)
    stream.records_come(batch=[(1, "g", "copied-fast", 1001)])
    others = [
        (0, "b", "old", 0),
        (3, "f", "live", 0),
        (1, "f", "live", 50),
        (2, "b", "malformed", 1),
    ]
    stream.records_come(batch=[*others, (1, "g", "copied-fast", 1001)])
    stream.all_is_silent(seconds=60)
    stream.sessionizer_reads(count=30, number=0)
    stream.all_is_silent(seconds=6)
    stream.sessionizer_commits(number=0)
    assert stream.partitions[0].plain.future == [0]


def test_a_session_that_begins_with_a_record_that_releases_others_is_seen_again() -> None:
    stream = StreamMachine()
    stream.begin(held_offsets=6, late="carry", lateness=0, event_ids=1000, max_clicks=1000)
    jumps = [(0, "b", "live", 0), (0, "d", "live", 30_000), (0, "d", "copied-fast", 1)]
    others = [(0, "e", "fast", 30_000), (0, "g", "live", 10), (0, "e", "copied-fast", 50)]
    stream.records_come(batch=[*jumps, *others, (0, "c", "old", 30_000), (0, "f", "slow", 30_000)])
    stream.sessionizer_reads(count=8, number=0)
    stream.sessionizer_commits(number=0)
    stream.follower_moves_to_another_worker(number=0)
    stream.teardown()
