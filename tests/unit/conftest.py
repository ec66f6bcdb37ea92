from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
import structlog
from prometheus_client import CollectorRegistry

from tests.fakes import Clock, FakeKafka


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests see the defaults, whatever the shell around them has set."""
    for variable in [name for name in os.environ if name.startswith("ADER_")]:
        monkeypatch.delenv(variable)


@pytest.fixture(autouse=True)
def logs_as_they_were() -> Iterator[None]:
    """A command line sets up logs for its process, with the standard error of its test."""
    yield
    structlog.reset_defaults()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def kafka() -> FakeKafka:
    return FakeKafka()


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()
