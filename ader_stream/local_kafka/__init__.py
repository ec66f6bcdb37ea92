"""Run an Apache Kafka on this machine: a given one, from a Docker engine, or from Java.

::

    sources    which of the three, in which order: start_kafka, find_kafka, stop_kafka
    docker     the official image in a container
    java       Apache Kafka from Maven Central as a process; jars: its download
    server     the broker's properties, the same for both
    ready      whether a broker answers yet
    record     what is known about a local Kafka, kept in its data folder
    ports      which port is free
    commands   running docker, java, mvn
    guard      ends what was started if its parent is killed; guard_process: its own process
"""

from __future__ import annotations

from ader_stream.local_kafka.guard import Guard, start_process, stop_processes
from ader_stream.local_kafka.record import LocalKafka
from ader_stream.local_kafka.sources import delete_data, find_kafka, start_kafka, stop_kafka

__all__ = [
    "Guard",
    "LocalKafka",
    "delete_data",
    "find_kafka",
    "start_kafka",
    "start_process",
    "stop_kafka",
    "stop_processes",
]
