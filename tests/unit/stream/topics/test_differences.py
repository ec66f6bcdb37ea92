"""What `topics check` compares: how long records are kept."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ader_stream.stream.topics.differences import config_differences
from ader_stream.stream.topics.topics import Topics
from ader_stream.types import DAY_MS, HOUR_MS
from tests.fakes import FakeKafka
from tests.unit.stream.diagnosis.shop import cluster

TOPICS = Topics("ader")
NEEDED = TOPICS.needed_configs()
LETTERS = TOPICS.dead_letters
PROPERTIES = st.sampled_from(["retention.ms", "retention.bytes"])
LIMITS = st.integers(0, 2**63 - 1)


def differences(kafka: FakeKafka) -> list[str]:
    return [*map(str, config_differences(kafka.admin(), NEEDED))]  # type: ignore[arg-type]


def with_property(topic: str, name: str, value: int) -> list[str]:
    kafka = cluster(TOPICS)
    kafka.configs[topic][name] = str(value)
    return differences(kafka)


@pytest.mark.parametrize("kept", [0, 1_000, HOUR_MS, DAY_MS - 1])
@pytest.mark.parametrize("topic", [LETTERS, TOPICS.recommendations])
def test_less_than_a_day_is_too_short_for_what_somebody_has_to_see(topic: str, kept: int) -> None:
    week = NEEDED[topic]["retention.ms"]
    assert with_property(topic, "retention.ms", kept) == [
        f"{topic}: retention.ms={kept} (expected {week})"
    ]


@pytest.mark.parametrize("kept", [DAY_MS, 3 * DAY_MS, 7 * DAY_MS, 365 * DAY_MS, -1])
def test_from_a_day_on_it_is_the_users_choice(kept: int) -> None:
    assert with_property(LETTERS, "retention.ms", kept) == []


def test_bytes_would_end_it_earlier() -> None:
    [said] = with_property(LETTERS, "retention.bytes", 1_000)
    assert said == f"{LETTERS}: retention.bytes=1000 (expected -1)"


@given(st.sampled_from([*NEEDED]), PROPERTIES, LIMITS, LIMITS)
def test_what_is_kept_for_longer_is_never_worse(topic: str, name: str, one: int, two: int) -> None:
    shorter, longer = sorted((one, two))
    assert len(with_property(topic, name, longer)) <= len(with_property(topic, name, shorter))
    assert with_property(topic, name, -1) == []
