"""Data about a local Kafka, and the record of it in its data folder.

The record remains after the broker has ended: the next start reads in it where the topics are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

SourceName = Literal["given", "docker", "java"]


@dataclass(frozen=True)
class StartOptions:
    """Parameters with which `docker` and `java` start a broker.

    Parameters
    ----------
    data
        Folder of the broker, absolute.
    port
        A free port.
    image
        Container image (docker).
    cache
        Folder for Kafka's jars (java).
    temporary
        The data are deleted with the broker.
    properties
        Properties of the broker that override the default ones.
    cluster_id
        Id of the cluster that it joins (java); empty for a new cluster.
    """

    data: Path
    port: int
    image: str
    cache: Path
    temporary: bool = False
    properties: Mapping[str, str] = field(default_factory=dict)
    cluster_id: str = ""


@dataclass(frozen=True)
class LocalKafka:
    """A running Kafka.

    Parameters
    ----------
    bootstrap_servers
        host:port for clients.
    source
        ``given`` (a cluster that was not started here), ``docker`` or ``java``.
    version
        Version of Apache Kafka; ``unknown`` for a given cluster.
    data
        The data folder; not used by a given cluster.
    port
        Port on this machine; 0 for a given cluster.
    pid
        Process id (java), else 0.
    container
        Name of the container (docker), else empty.
    temporary
        Its data are deleted when it is stopped.
    """

    bootstrap_servers: str
    source: SourceName
    version: str
    data: Path
    port: int = 0
    pid: int = 0
    container: str = ""
    temporary: bool = False

    def as_json(self) -> dict[str, object]:
        """Return plain values, for JSON."""
        return asdict(self) | {"data": str(self.data)}


def write_record(kafka: LocalKafka) -> None:
    """Write the record of a broker, completely or not at all."""
    path = _path(kafka.data)
    unfinished = path.with_suffix(".tmp")
    unfinished.write_text(json.dumps(kafka.as_json(), indent=2) + "\n", encoding="utf-8")
    unfinished.replace(path)


def read_record(data: Path) -> LocalKafka | None:
    """Return the broker that was last started on a data folder; it may have ended since."""
    try:
        fields = json.loads(_path(data).read_text(encoding="utf-8"))
        return LocalKafka(**fields | {"data": Path(fields["data"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None  # none was written, or by another version of this program


def remove_record(data: Path) -> None:
    """Delete the record in a data folder, and the folder if it is empty then."""
    _path(data).unlink(missing_ok=True)
    remove_if_empty(data)


def remove_if_empty(data: Path) -> None:
    """Delete a data folder in which nothing is left."""
    with suppress(OSError):
        data.rmdir()


def removal_of_record(data: Path) -> list[list[str]]:
    """Return the commands that do the same as `remove_record`, for a guard."""
    return [["rm", "-f", str(_path(data))], ["rmdir", str(data)]]


def _path(data: Path) -> Path:
    return data / "broker.json"
