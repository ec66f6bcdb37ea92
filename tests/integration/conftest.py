"""A real Kafka for the whole test session, in a container where a Docker engine answers."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from platformdirs import user_cache_path
from testcontainers.core.container import DockerContainer

from ader_stream.errors import BrokerError
from ader_stream.local_kafka import Guard, docker, java
from ader_stream.local_kafka.ports import HOST, free_port
from ader_stream.local_kafka.ready import wait_until_ready
from ader_stream.local_kafka.record import StartOptions
from ader_stream.settings import kafka_image
from tests.integration.secured import SecuredKafka, secured_kafka


@dataclass(frozen=True)
class RealKafka:
    """A broker for tests: its address, and ways to take it away and bring it back."""

    bootstrap_servers: str
    source: str
    restart: Callable[[], None]
    freeze: Callable[[], None]
    thaw: Callable[[], None]


@pytest.fixture(scope="session")
def kafka_cache() -> Path:
    """The same download as everywhere else."""
    return user_cache_path("ader-stream")


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory, kafka_cache: Path) -> Iterator[RealKafka]:
    """One broker for all tests; each keeps to the topics of its own `prefix`."""
    with Guard() as guard:
        try:
            docker.require_image(kafka_image())
        except BrokerError:
            broker = from_java(tmp_path_factory.mktemp("kafka"), kafka_cache, guard)
        else:
            broker = from_docker(kafka_image(), guard)
        with broker as kafka:
            yield kafka


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


@contextmanager
def from_docker(image: str, guard: Guard) -> Iterator[RealKafka]:
    # The address that the broker advertises must be known before it starts: a fixed port.
    port = free_port()
    address = f"{HOST}:{port}"
    java_options = {"JAVA_TOOL_OPTIONS": os.environ.get("JAVA_TOOL_OPTIONS", "")}
    container = DockerContainer(image).with_envs(**docker.environment(port), **java_options)
    with container.with_bind_ports(9092, port):
        engine_container = container.get_wrapped_container()
        guard.on_death(["docker", "rm", "--force", "--volumes", engine_container.id])

        def wait() -> None:
            wait_until_ready(address, lambda: None if runs() else container.get_logs()[0].decode())

        def runs() -> bool:
            engine_container.reload()
            return bool(engine_container.status == "running")

        def restart() -> None:
            engine_container.restart()
            wait()

        wait()
        yield RealKafka(
            address, "docker", restart, engine_container.pause, engine_container.unpause
        )


@contextmanager
def from_java(
    data: Path,
    cache: Path,
    guard: Guard,
    properties: Mapping[str, str] | None = None,
    port: int | None = None,
) -> Iterator[RealKafka]:
    data.mkdir(exist_ok=True)
    options = StartOptions(data, port or free_port(), "", cache, properties=properties or {})
    kafka = java.start(options, guard)

    def restart() -> None:
        nonlocal kafka
        java.stop(kafka)
        kafka = java.start(options, guard)

    def send(number: signal.Signals) -> None:
        os.kill(kafka.pid, number)

    yield RealKafka(
        kafka.bootstrap_servers,
        "java",
        restart,
        lambda: send(signal.SIGSTOP),
        lambda: send(signal.SIGCONT),
    )
    java.stop(kafka)
