"""A real Kafka for the whole test session, in a container where a Docker engine answers."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from platformdirs import user_cache_path

from ader_stream.local_kafka import Guard
from ader_stream.testing.brokers import RealKafka, real_kafka
from tests.integration.secured import SecuredKafka, secured_kafka


@pytest.fixture(scope="session")
def kafka_cache() -> Path:
    """The same download as everywhere else."""
    return user_cache_path("ader-stream")


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory, kafka_cache: Path) -> Iterator[RealKafka]:
    """One broker for all tests; each keeps to the topics of its own `prefix`."""
    with real_kafka(tmp_path_factory.mktemp("kafka"), kafka_cache) as broker:
        yield broker


@pytest.fixture(scope="session")
def secured(tmp_path_factory: pytest.TempPathFactory, kafka_cache: Path) -> Iterator[SecuredKafka]:
    """One broker with users, rules and certificates for all tests that need one."""
    folder = tmp_path_factory.mktemp("secured")
    with Guard() as guard, secured_kafka(folder, kafka_cache, guard) as broker:
        yield broker


@pytest.fixture
def prefix() -> str:
    """Start of topic and group names that no other test has."""
    return f"test-{uuid.uuid4().hex[:12]}"
