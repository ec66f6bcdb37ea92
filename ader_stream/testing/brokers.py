"""A real Kafka that a test may break: in a container where a Docker engine answers, else Java."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ader_stream.errors import BrokerError
from ader_stream.local_kafka import Guard, docker, java
from ader_stream.local_kafka.ports import HOST, free_port
from ader_stream.local_kafka.ready import wait_until_ready
from ader_stream.local_kafka.record import StartOptions
from ader_stream.settings import kafka_image


@dataclass(frozen=True)
class RealKafka:
    """A broker for tests.

    Parameters
    ----------
    bootstrap_servers
        Its address.
    source
        ``docker`` or ``java``.
    restart
        Stops it, starts it again with the same data, and returns when it answers.
    freeze, thaw
        Stop it from answering, without the end of a connection, and let it continue.
    """

    bootstrap_servers: str
    source: str
    restart: Callable[[], None]
    freeze: Callable[[], None]
    thaw: Callable[[], None]


@contextmanager
def real_kafka(data: Path, cache: Path) -> Iterator[RealKafka]:
    """Run a broker of the first source that this machine has; it ends with this process.

    Parameters
    ----------
    data
        Folder of a broker from Java; the data of a container are deleted with it.
    cache
        Folder for Kafka's jars.

    Raises
    ------
    BrokerError
        If there is neither a Docker engine with the image nor Java 17.
    """
    with Guard() as guard:
        try:
            docker.require_image(kafka_image())
        except BrokerError:
            broker = from_java(data, cache, guard)
        else:
            broker = from_docker(kafka_image(), guard)
        with broker as kafka:
            yield kafka


@contextmanager
def from_docker(image: str, guard: Guard) -> Iterator[RealKafka]:
    """Run a broker in a container, which `guard` removes if this process is killed."""
    from testcontainers.core.container import DockerContainer  # noqa: PLC0415 - only where used

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
    """Run a broker as a Java process, which `guard` ends if this process is killed."""
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
