"""Run Apache Kafka in a container of the official image.

Container and volume are named after the data folder. The volume keeps the topics from one `broker
up` to the next, as the folder does for Java. A mounted folder of this machine would belong to the
wrong user, either inside or outside the container.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import structlog

from ader_stream.errors import BrokerError
from ader_stream.local_kafka.commands import last_line, require_program, run
from ader_stream.local_kafka.guard import Guard
from ader_stream.local_kafka.jars import kafka_version
from ader_stream.local_kafka.ports import HOST
from ader_stream.local_kafka.ready import wait_until_ready
from ader_stream.local_kafka.record import LocalKafka, StartOptions
from ader_stream.local_kafka.server import (
    CONTAINER_LOGS,
    HEAP_OPTIONS,
    as_environment,
    container_properties,
)

log = structlog.get_logger(__name__)

ENGINE_TIMEOUT_S = 60.0


def start(options: StartOptions, guard: Guard) -> LocalKafka:
    """Start the container and return when the broker answers; otherwise `guard` removes it.

    Raises
    ------
    BrokerError
        If no engine answers, the image cannot be pulled, or the broker does not start.
    """
    require_image(options.image)
    name = _name(options.data)
    kafka = LocalKafka(
        bootstrap_servers=f"{HOST}:{options.port}",
        source="docker",
        version="unknown",
        data=options.data,
        port=options.port,
        container=name,
        temporary=options.temporary,
    )
    _docker(*_removal(name))  # a container that a restart of the machine has left behind
    end_with(guard, kafka)
    volume = [] if options.temporary else [f"--volume={name}:{CONTAINER_LOGS}"]
    _docker("run", "--detach", f"--name={name}", *volume, *_publish(options), options.image)
    wait_until_ready(kafka.bootstrap_servers, lambda: _why_ended(name))
    return replace(kafka, version=version(name))


def require_image(image: str) -> None:
    """Pull the image unless it is on this machine.

    Raises
    ------
    BrokerError
        If no engine answers, or the image is missing and cannot be pulled.
    """
    require_program("docker")
    _docker("version", "--format={{.Server.Version}}")
    if not _has_image(image):
        log.info("pulling image", image=image)
        run(["docker", "pull", "--quiet", image])


def environment(port: int, properties: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return variables for a container of the image whose port 9092 is `port` on this machine.

    `properties` of the broker override the default ones.
    """
    variables = as_environment(container_properties(HOST, port) | dict(properties or {}))
    return variables | {"KAFKA_HEAP_OPTS": " ".join(HEAP_OPTIONS)}


def version(container: str) -> str:
    """Read the version of Kafka in a running container."""
    return kafka_version(_docker("exec", container, "ls", "/opt/kafka/libs"))


def end_with(guard: Guard, kafka: LocalKafka) -> None:
    """Make the guard remove this broker's container, and its data if they are temporary."""
    guard.on_death(["docker", *_removal(kafka.container)])


def is_running(kafka: LocalKafka) -> bool:
    """Return whether the broker's container runs."""
    return _container_runs(kafka.container)


def stop(kafka: LocalKafka) -> None:
    """Stop the broker cleanly and remove its container."""
    if is_running(kafka):
        _docker("stop", "--time=20", kafka.container)
    _docker(*_removal(kafka.container))


def delete_data(kafka: LocalKafka) -> None:
    """Delete the broker's volume."""
    _docker("volume", "rm", "--force", kafka.container)


def _name(data: Path) -> str:
    return f"ader-stream-kafka-{hashlib.sha256(str(data.resolve()).encode()).hexdigest()[:12]}"


def _publish(options: StartOptions) -> list[str]:
    environment_ = environment(options.port, options.properties)
    variables = [f"--env={name}={value}" for name, value in environment_.items()]
    return [f"--publish={HOST}:{options.port}:9092", *variables]


def _removal(name: str) -> list[str]:
    """Return the command that removes a container with its anonymous volumes, if it exists."""
    return ["rm", "--force", "--volumes", name]


def _why_ended(name: str) -> str | None:
    return None if _container_runs(name) else last_line(_docker("logs", "--tail=20", name))


def _has_image(image: str) -> bool:
    try:
        _docker("image", "inspect", image)
    except BrokerError:
        return False
    return True


def _container_runs(name: str) -> bool:
    try:
        return _docker("container", "inspect", "--format={{.State.Running}}", name) == "true"
    except BrokerError:
        return False


def _docker(*arguments: str) -> str:
    return run(["docker", *arguments], timeout=ENGINE_TIMEOUT_S)
