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
