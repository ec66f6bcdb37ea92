"""Fixtures for tests of what sends clicks to ader-stream, or reads what it recommends.

pytest loads this module in every project where ader-stream is installed: it imports nothing else
before a test asks for a fixture.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

import pytest

if TYPE_CHECKING:
    from ader_stream.testing.brokers import RealKafka
    from ader_stream.testing.running_system import RunningSystem


@pytest.fixture(scope="session")
def ader_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealKafka]:
    """One broker for all tests; each system has topics of its own."""
    from platformdirs import user_cache_path  # noqa: PLC0415 - costs other projects nothing

    from ader_stream.testing.brokers import real_kafka  # noqa: PLC0415

    with real_kafka(tmp_path_factory.mktemp("kafka"), user_cache_path("ader-stream")) as kafka:
        yield kafka


@pytest.fixture
def ader_settings() -> Mapping[str, Mapping[str, Any]]:
    """Settings of `ader_system`: group → name → value; override it where yours are others."""
    return {}


@pytest.fixture
def ader_trainer() -> Literal["fake", "real"]:
    """Trainer of `ader_system`; override it with ``real`` to train."""
    return "fake"


@pytest.fixture
def ader_system(
    ader_kafka: RealKafka,
    ader_settings: Mapping[str, Mapping[str, Any]],
    ader_trainer: Literal["fake", "real"],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[RunningSystem]:
    """Workers on topics of their own, in blocks of ten seconds of event time."""
    from ader_stream.testing.running_system import RunningSystem  # noqa: PLC0415

    folder = tmp_path_factory.mktemp("ader-stream")
    with RunningSystem(ader_kafka, folder, ader_settings, ader_trainer) as system:
        yield system
