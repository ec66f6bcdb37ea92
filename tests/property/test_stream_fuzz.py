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
