"""Follows the models topic: every manifest once, in order, as soon as it is committed."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog
from confluent_kafka import TopicPartition

from ader_stream.errors import AderError
from ader_stream.stream.changelog import checked, offset_range
from ader_stream.stream.clients import KafkaClients
from ader_stream.stream.model_log import Manifest, decode_manifest

log = structlog.get_logger(__name__)

POLL_SECONDS = 0.1


class ManifestFollower:
    """A thread that hands manifests on.

    Parameters
    ----------
    on_manifests
        Called in that thread with those that have come since the last call, oldest first. At the
        start: with all that are there, so that a version behind the newest need not be loaded.
    """

    def __init__(
        self, clients: KafkaClients, topic: str, on_manifests: Callable[[list[Manifest]], None]
    ) -> None:
        self._clients = clients
        self._topic = topic
        self._on_manifests = on_manifests
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="models", daemon=True)
        self.failure: AderError | None = None

    def start(self) -> None:
        """Follow from now on."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        self._thread.join()

    def check(self) -> None:
        """Raise what has ended the thread, if something has."""
        if self.failure:
            raise self.failure

    def _run(self) -> None:
        try:
            self._follow()
        except AderError as error:
            self.failure = error
            log.exception("following models has ended")

    def _follow(self) -> None:
        first, _ = offset_range(self._clients, self._topic, 0)
        reader = self._clients.reader()
        reader.assign([TopicPartition(self._topic, 0, first)])
        try:
            while not self._stopping.is_set():
                records = checked(reader.consume(1_000, POLL_SECONDS))
                manifests = [found for found in map(decode_manifest, records) if found]
                if manifests:
                    self._on_manifests(manifests)
        finally:
            reader.close()
