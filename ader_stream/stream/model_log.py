"""The model log: publishing is the commit of a manifest; readers reach chunks only through one.

An artifact is a few parts (bytes by kind), each cut into chunks of less than 1 MB in
`model-chunks`; its manifest is one record in `models`. What a manifest does not name does not
exist: chunks of a publishing that died are orphans.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import structlog
from confluent_kafka import KafkaException, Message, Producer

from ader_stream.errors import ArtifactError, DecodeError, FencedError, OffsetError, TopicError
from ader_stream.stream.changelog import REQUEST_TIMEOUT, read_range, read_to_end
from ader_stream.stream.clients import KafkaClients
from ader_stream.stream.codec import CHUNK_TYPE, TYPE_HEADER, decode, encode
from ader_stream.stream.exactly_once import abort, produce, retried
from ader_stream.stream.records import Record
from ader_stream.stream.topics import Topics

log = structlog.get_logger(__name__)

FORMAT = 1
"""Version of the artifact's format; a reader refuses a newer one."""

KINDS = ("optimizer", "exemplars", "vocabulary", "weights")
"""Parts, in the order in which they are sent: what serving needs comes last, close together."""

QUEUED_CHUNKS = 8
"""Chunks that wait in the producer at most: a model of any size passes through a few MB."""

CHUNKS_A_TRANSACTION = 64
"""A transaction stays far shorter than its timeout, whatever the size of the model."""

ATTEMPTS = 5
"""Aborted transactions in a row after which publishing gives up."""

Manifest = dict[str, Any]
"""A ModelManifest's value (schemas/ModelManifest.avsc)."""


class ModelPublisher:
    """The one writer of `models` and `model-chunks`; made by the leading trainer.

    Making it fences every earlier leader and aborts what it left.
    """

    def __init__(self, clients: KafkaClients, topics: Topics, chunk_size: int) -> None:
        self._topics = topics
        self._chunk_size = chunk_size
        self._offsets: list[int] = []
        self._producer: Producer = clients.producer(
            topics.group("trainer"), queue_buffering_max_messages=QUEUED_CHUNKS
        )
        try:
            retried(lambda: self._producer.init_transactions(REQUEST_TIMEOUT))
        except KafkaException as exception:
            raise FencedError(f"publisher: {exception.args[0].str()}") from None

    def publish(self, manifest: Manifest, parts: Mapping[str, bytes]) -> Manifest:
        """Send the chunks, then commit the manifest; return it with parts and places filled in.

        Raises
        ------
        FencedError
            If another trainer leads now; nothing of this version will be seen.
        TopicError
            If the broker refuses it again and again.
        """
        described, places = [], []
        for kind in KINDS:
            self._offsets = []
            described.append(self._send_part(manifest["version"], kind, parts[kind]))
            first, last = min(self._offsets), max(self._offsets)
            places.append({"kind": kind, "first_offset": first, "last_offset": last})
        complete = manifest | {"format": FORMAT, "parts": described}
        complete["run"] = manifest["run"] | {
            "places": places,
            "published_at": time.time_ns() // 1_000_000,
        }
        self._transact(lambda: self._produce_manifest(complete))
        return complete

    def _produce_manifest(self, manifest: Manifest) -> None:
        value, headers = encode("ModelManifest", manifest)
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


@dataclass(frozen=True)
class ModelReader:
    """Reads manifests and the parts that they name."""

    clients: KafkaClients
    topics: Topics

    def manifests(self) -> list[Manifest]:
        """Every committed manifest, by version.

        Raises
        ------
        DecodeError
            If one cannot be read: who goes on from the others would publish its version again.
        """
        records = read_to_end(self.clients, self.topics.models)
        found = [decode(r.value(), r.headers())[1] for r in records if r.value() is not None]
        by_version = {manifest["version"]: manifest for manifest in found}
        return [by_version[version] for version in sorted(by_version)]

    def fetch(self, manifest: Manifest, kinds: Sequence[str]) -> dict[str, bytes]:
        """Return parts, each checked against its SHA-256.

        Raises
        ------
        ArtifactError
            If the format is newer, a chunk is missing, or bytes are not what the manifest says.
        """
        if manifest["format"] > FORMAT:
            raise ArtifactError(
                f"version {manifest['version']} has format {manifest['format']}, this process "
                f"reads up to {FORMAT}; update it"
            )
        parts = {part["kind"]: part for part in manifest["parts"] if part["kind"] in kinds}
        if missing := set(kinds) - set(parts):
            raise ArtifactError(
                f"version {manifest['version']} has no {', '.join(sorted(missing))}"
            )
        chunks = self._chunks(manifest, parts)
        return {kind: _assemble(manifest["version"], parts[kind], chunks) for kind in kinds}

    def _chunks(self, manifest: Manifest, parts: Mapping[str, Any]) -> dict[str, bytes]:
        version, run = manifest["version"], manifest["run"]
        wanted = {
            f"{version}/{kind}/{number}"
            for kind, part in parts.items()
            for number in range(len(part["chunks"]))
        }
        found: dict[str, bytes] = {}
        places = [place for place in run["places"] if place["kind"] in parts]
        first = min((place["first_offset"] for place in places), default=0)
        end = max((place["last_offset"] for place in places), default=-1) + 1
        try:
            for record in read_range(self.clients, self.topics.model_chunks, 0, first, end):
                key = (record.key() or b"").decode(errors="replace")
                if key in wanted:
                    found[key] = record.value() or b""
                    if len(found) == len(wanted):
                        break
        except OffsetError as error:
            raise ArtifactError(f"version {version}: its chunks are gone: {error}") from None
        return found


def decode_manifest(record: Record) -> Manifest | None:
    """Return the manifest in a record; None for a tombstone or what cannot be read."""
    if record.value() is None:
        return None
    try:
        return decode(record.value(), record.headers())[1]
    except DecodeError:
        return None


def sha256(data: bytes) -> str:
    """SHA-256, hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def _assemble(version: int, part: Mapping[str, Any], chunks: Mapping[str, bytes]) -> bytes:
    kind = part["kind"]
    data = bytearray()
    for number, described in enumerate(part["chunks"]):
        chunk = chunks.get(f"{version}/{kind}/{number}")
        if chunk is None:
            raise ArtifactError(f"version {version}: chunk {number} of {kind} is missing")
        if len(chunk) != described["size"] or sha256(chunk) != described["sha256"]:
            raise ArtifactError(
                f"version {version}: chunk {number} of {kind} is not what the manifest says"
            )
        data += chunk
    if len(data) != part["size"] or sha256(bytes(data)) != part["sha256"]:
        raise ArtifactError(f"version {version}: {kind} is not what the manifest says")
    return bytes(data)
