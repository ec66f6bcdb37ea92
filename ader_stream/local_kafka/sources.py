"""Get a Kafka from a given cluster, a Docker engine, or Java, in this order."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Protocol

import structlog

from ader_stream.errors import BrokerError, UnreachableError
from ader_stream.local_kafka import docker, java
from ader_stream.local_kafka.guard import Guard
from ader_stream.local_kafka.ports import choose_port
from ader_stream.local_kafka.ready import answers
from ader_stream.local_kafka.record import (
    LocalKafka,
    StartOptions,
    read_record,
    removal_of_record,
    remove_if_empty,
    remove_record,
    write_record,
)
from ader_stream.paths import make_folder

log = structlog.get_logger(__name__)

GIVEN_TIMEOUT_S = 10.0

THREE_WAYS = (
    "Provide one of these: (1) --bootstrap-servers, the address of a running Kafka; "
    "(2) a Docker engine that can pull apache/kafka, or has the image that KAFKA_IMAGE names; "
    "(3) Java 17 or newer, with Maven for the first download"
)


class Source(Protocol):
    """The functions that both modules, `docker` and `java`, have."""

    def start(self, options: StartOptions, guard: Guard) -> LocalKafka:
        """Start a broker and return when it answers."""

    def end_with(self, guard: Guard, kafka: LocalKafka) -> None:
        """Make the guard end a broker."""

    def is_running(self, kafka: LocalKafka) -> bool:
        """Return whether a broker that was started still runs."""

    def stop(self, kafka: LocalKafka) -> None:
        """Stop a broker cleanly."""

    def delete_data(self, kafka: LocalKafka) -> None:
        """Delete the topics of a stopped broker."""


SOURCES: dict[str, Source] = {"docker": docker, "java": java}


def start_kafka(
    data: Path,
    *,
    image: str,
    cache: Path,
    port: int | None = None,
    source: Literal["auto", "docker", "java"] = "auto",
    address: str | None = None,
    guard: Guard | None = None,
    temporary: bool = False,
) -> LocalKafka:
    """Return a Kafka that answers; if one already runs on this data folder, return it.

    Parameters
    ----------
    data
        Folder of the broker; one folder is one broker.
    image
        Container image, for Docker.
    cache
        Folder for Kafka's jars, for Java.
    port
        Port on this machine; by default 9092, or any free one if that is taken.
    source
        ``auto`` takes the source that this folder was last used with, then Docker, then Java.
    address
        A running Kafka: it is only checked whether it answers.
    guard
        Ends the broker when this process dies; without it the broker continues.
    temporary
        The data are deleted with the broker.

    Raises
    ------
    UnreachableError
        If nothing answers at `address`.
    InputError
        If `port` is taken.
    BrokerError
        If none of the three ways provides a Kafka.
    """
    if address:
        return _given(address, data)
    if running := find_kafka(data):
        return running
    data = data.resolve()
    make_folder(data, "the broker's data")
    options = StartOptions(data, choose_port(port), image, cache, temporary)
    try:
        kafka = _start_first(_order(source, data), options, guard)
    except BaseException:  # Ctrl-C, too
        remove_if_empty(data)
        raise
    write_record(kafka)
    return kafka


def find_kafka(data: Path) -> LocalKafka | None:
    """Return the broker that runs on a data folder."""
    kafka = read_record(data)
    return kafka if kafka and SOURCES[kafka.source].is_running(kafka) else None


def stop_kafka(kafka: LocalKafka) -> None:
    """Stop a broker cleanly with all its processes; a given cluster continues."""
    if kafka.source == "given":
        return
    SOURCES[kafka.source].stop(kafka)
    if kafka.temporary:
        delete_data(kafka.data)


def delete_data(data: Path) -> None:
    """Delete the topics and the record of the stopped broker of a data folder."""
    if kafka := read_record(data):
        SOURCES[kafka.source].delete_data(kafka)
        remove_record(data)


def _given(address: str, data: Path) -> LocalKafka:
    if not answers(address, GIVEN_TIMEOUT_S):
        raise UnreachableError(
            f"no Kafka answers at {address} within {GIVEN_TIMEOUT_S:g} s; check the address, "
            "or leave it out to start a local one"
        )
    return LocalKafka(bootstrap_servers=address, source="given", version="unknown", data=data)


def _order(source: str, data: Path) -> list[str]:
    """Return the sources to try; the one that already has the folder's topics is first."""
    if source != "auto":
        return [source]
    last = read_record(data)
    return sorted(SOURCES, key=lambda name: last is None or name != last.source)


def _start_first(names: list[str], options: StartOptions, guard: Guard | None) -> LocalKafka:
    reasons = []
    for name in names:
        try:
            return _start(SOURCES[name], options, guard)
        except BrokerError as error:
            log.warning("no Kafka from this source", source=name, reason=str(error))
            reasons.append(f"{name}: {error}")
    raise BrokerError(f"no Kafka could be started ({'; '.join(reasons)}). {THREE_WAYS}")


def _start(source: Source, options: StartOptions, guard: Guard | None) -> LocalKafka:
    with Guard() as starting:  # a start that fails or is interrupted leaves nothing behind
        kafka = source.start(options, starting)
        if guard:
            _end_with(guard, source, kafka)
        starting.release()
    return kafka


def _end_with(guard: Guard, source: Source, kafka: LocalKafka) -> None:
    """Make the guard end a broker, and delete all that is left of a temporary one."""
    source.end_with(guard, kafka)
    if kafka.temporary:
        for command in removal_of_record(kafka.data):
            guard.on_death(command)
