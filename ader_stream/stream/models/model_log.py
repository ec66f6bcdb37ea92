"""The model log: publishing is the commit of a manifest; readers reach chunks only through one.

An artifact is a few parts (bytes by kind), each cut into chunks of less than 1 MB in
`model-chunks`; its manifest is one record in `models`. What a manifest does not name does not
exist: chunks of a publishing that died are orphans.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import structlog
from confluent_kafka import KafkaException, Message, Producer

from ader_stream.errors import FencedError, TopicError
from ader_stream.stream.kafka.changelog import REQUEST_TIMEOUT
from ader_stream.stream.kafka.clients import KafkaClients
from ader_stream.stream.kafka.codec import CHUNK_TYPE, TYPE_HEADER
from ader_stream.stream.kafka.producing import abort, produce, retried
from ader_stream.stream.kafka.records import Record
from ader_stream.stream.kafka.topics import Topics
from ader_stream.stream.models.manifest import (
    FORMAT,
    KINDS,
    Manifest,
    content_digest,
    encode_manifest,
    sha256,
)
from ader_stream.stream.models.signing import Signer

log = structlog.get_logger(__name__)

QUEUED_CHUNKS = 8
"""Chunks that wait in the producer at most: a model of any size passes through a few MB."""

CHUNKS_A_TRANSACTION = 64
"""A transaction stays far shorter than its timeout, whatever the size of the model."""

ATTEMPTS = 5
"""Aborted transactions in a row after which publishing gives up."""


class ModelPublisher:
    """The one writer of `models` and `model-chunks`; made by the leading trainer.

    Making it fences every earlier leader and aborts what it left.

    Parameters
    ----------
    chunk_size
        Bytes of a chunk.
    signer
        Signs each manifest; None leaves them unsigned.
    """

    def __init__(
        self, clients: KafkaClients, topics: Topics, chunk_size: int, signer: Signer | None = None
    ) -> None:
        self._topics = topics
        self._chunk_size = chunk_size
        self._signer = signer
        self._offsets: list[int] = []
        self._producer: Producer = clients.producer(
            topics.group("trainer"), queue_buffering_max_messages=QUEUED_CHUNKS
        )
        try:
            retried(lambda: self._producer.init_transactions(REQUEST_TIMEOUT))
        except KafkaException as exception:
            raise FencedError(f"publisher: {exception.args[0].str()}") from None

    def publish(self, manifest: Manifest, parts: Mapping[str, bytes]) -> Manifest:
        """Send the chunks, then commit the manifest; return it with what describes them filled in.

        `parts` has every kind, or none at all: a version that came to nothing is rejected.

        Raises
        ------
        FencedError
            If another trainer leads now; nothing of this version will be seen.
        TopicError
            If the broker refuses it again and again.
        """
        described, places = [], []
        for kind in KINDS if parts else ():
            self._offsets = []
            described.append(self._send_part(manifest["version"], kind, parts[kind]))
            first, last = min(self._offsets), max(self._offsets)
            places.append({"kind": kind, "first_offset": first, "last_offset": last})
        complete = manifest | {
            "format": FORMAT,
            "parts": described,
            "digest": content_digest(described),
        }
        complete["run"] = manifest["run"] | {
            "places": places,
            "published_at": time.time_ns() // 1_000_000,
        }
        self._transact(lambda: self._produce_manifest(complete))
        return complete

    def prune(self, manifests: Sequence[Manifest]) -> None:
        """Delete versions by tombstones: the manifest first, so that nobody looks for chunks.

        Raises
        ------
        FencedError, TopicError
            As `publish` does.
        """
        for manifest in manifests:
            version = manifest["version"]
            keys = [
                f"{version}/{part['kind']}/{number}"
                for part in manifest["parts"]
                for number in range(len(part["chunks"]))
            ]
            self._transact(
                lambda v=version, k=keys: self._produce_tombstones(v, k)  # type: ignore[misc]
            )

    def _produce_tombstones(self, version: int, keys: Sequence[str]) -> None:
        produce(self._producer, self._topics.models, str(version), None)
        for key in keys:
            produce(self._producer, self._topics.model_chunks, key, None)

    def _produce_manifest(self, manifest: Manifest) -> None:
        value, headers = encode_manifest(manifest, self._signer)
        produce(self._producer, self._topics.models, str(manifest["version"]), value, headers)

    def _send_part(self, version: int, kind: str, part: bytes) -> dict[str, Any]:
        chunks = [
            part[start : start + self._chunk_size]
            for start in range(0, max(1, len(part)), self._chunk_size)
        ]
        for first in range(0, len(chunks), CHUNKS_A_TRANSACTION):
            numbered = list(enumerate(chunks))[first : first + CHUNKS_A_TRANSACTION]
            self._transact(lambda n=numbered: self._produce_chunks(version, kind, n))  # type: ignore[misc]
        return {
            "kind": kind,
            "size": len(part),
            "sha256": sha256(part),
            "chunks": [{"size": len(chunk), "sha256": sha256(chunk)} for chunk in chunks],
        }

    def _produce_chunks(self, version: int, kind: str, chunks: Sequence[tuple[int, bytes]]) -> None:
        topic, headers = self._topics.model_chunks, [(TYPE_HEADER, CHUNK_TYPE)]
        for number, chunk in chunks:
            key = f"{version}/{kind}/{number}"
            produce(self._producer, topic, key, chunk, headers, on_delivery=self._note_offset)

    def _note_offset(self, error: object, record: Message) -> None:
        if error is None:
            self._offsets.append(cast("Record", record).offset())

    def _transact(self, produce_records: Callable[[], None]) -> None:
        """Commit a transaction; after an abort do it again: a version takes long to train."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._producer.begin_transaction()
                produce_records()
                retried(lambda: self._producer.commit_transaction(REQUEST_TIMEOUT))
            except KafkaException as exception:
                error = exception.args[0]
                if error.fatal():
                    raise FencedError(f"publishing: {error.str()}") from None
                log.warning("publishing aborted", attempt=attempt, error=error.str())
                abort(self._producer)
            else:
                return
        raise TopicError(
            f"publishing to {self._topics.models} and {self._topics.model_chunks} failed "
            f"{ATTEMPTS} times, the last time with: {error.str()}; see the broker's log"
        )
