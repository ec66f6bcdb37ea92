"""Follows the models topic: every manifest once, in order, as soon as it is committed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

import structlog
from confluent_kafka import TopicPartition

from ader_stream.stream.changelog import checked, offset_range, read_range
from ader_stream.stream.clients import KafkaClients
from ader_stream.stream.manifest import Manifest
from ader_stream.stream.records import Record

log = structlog.get_logger(__name__)

POLL_SECONDS = 0.1


class ManifestFollower:
    """Hands manifests on: first those that stand there, then new ones from a thread of its own.

    Parameters
    ----------
    decode
        Returns the manifest in a record; None for a tombstone, or for one that is refused.
    on_standing
        Called once by `start` with all that are there, oldest first, so that a version behind the
        newest need not be loaded.
    on_new
        Called in the thread with those that have come since the last call, oldest first.
    """

    def __init__(
        self,
        clients: KafkaClients,
        topic: str,
        decode: Callable[[Record], Manifest | None],
        on_standing: Callable[[list[Manifest]], None],
        on_new: Callable[[list[Manifest]], None],
    ) -> None:
        self._clients = clients
        self._topic = topic
        self._decode = decode
        self._on_standing = on_standing
        self._on_new = on_new
        self._next_offset = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="models", daemon=True)
        self.failure: Exception | None = None

    def start(self) -> None:
        """Hand on what is there, then follow in the thread.

        Who joins a group after this scores no click without the versions that existed before.
        """
        first, self._next_offset = offset_range(self._clients, self._topic, 0)
        records = read_range(self._clients, self._topic, 0, first, self._next_offset)
        self._on_standing(self._decoded(records))
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
        except (
            Exception
        ) as error:  # whatever it is: the worker must not serve old versions for good
            self.failure = error
            log.exception("following models has ended")

    def _follow(self) -> None:
        reader = self._clients.reader()
        reader.assign([TopicPartition(self._topic, 0, self._next_offset)])
        try:
            while not self._stopping.is_set():
                manifests = self._decoded(checked(reader.consume(1_000, POLL_SECONDS)))
                if manifests:
                    self._on_new(manifests)
        finally:
            reader.close()

    def _decoded(self, records: Iterable[Record]) -> list[Manifest]:
        return [manifest for manifest in map(self._decode, records) if manifest]
