from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from tests.fakes import FakeKafka


@pytest.fixture
def kafka() -> FakeKafka:
    return FakeKafka()


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()
