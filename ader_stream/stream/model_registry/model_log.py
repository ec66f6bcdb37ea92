"""Publish versions to the model log: a version exists once its manifest is committed.

An artifact is a few parts (bytes by kind), each cut into chunks of less than 1 MB in
`model-chunks`; its manifest is one record in `models`. They are written in as many transactions as
needed; the last one also holds the manifest. Readers find chunks only by a manifest: chunks of an
interrupted publication are orphans, and the next leader deletes them (`pruning`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple, TypeVar, cast

import structlog
from confluent_kafka import KafkaError, KafkaException, Message

from ader_stream.artifact import KINDS, sha256
from ader_stream.errors import FencedError, TopicError
from ader_stream.stream.avro.codec import CHUNK_TYPE, TYPE_HEADER, Headers
from ader_stream.stream.exactly_once.commit_health import CommitHealth
from ader_stream.stream.kafka.clients import KafkaClients
from ader_stream.stream.kafka.limits import record_limits
from ader_stream.stream.kafka.producing import produce
from ader_stream.stream.kafka.reading import REQUEST_TIMEOUT
from ader_stream.stream.kafka.records import Record
from ader_stream.stream.kafka.rights import Right, authorization_error_or, is_refusal
from ader_stream.stream.model_registry.manifest import (
    FORMAT,
    Chunk,
    Manifest,
    Part,
    PartOffsets,
    chunk_key,
    digest_of,
)
from ader_stream.stream.model_registry.manifest_record import encode_manifest
from ader_stream.stream.model_registry.signing import Signer
from ader_stream.stream.topics.topics import Topics
from ader_stream.stream.transactions.producer import INTERRUPTED, TransactionalProducer
from ader_stream.stream.transactions.requests import retried

log = structlog.get_logger(__name__)
T = TypeVar("T")

MANIFEST_BYTES = 128 * 1024
"""Of a manifest without its chunks, at most: half of it for the frequent items."""

CHUNK_ENTRY_BYTES = 72
"""Of a chunk in the manifest: its size and its hexadecimal SHA-256."""

QUEUED_CHUNKS = 8
"""Chunks in the producer's queue at most: a model of any size needs a few MB."""

CHUNKS_A_TRANSACTION = 64
"""A transaction stays far shorter than its time-out, whatever the size of the model. Half as many
after each failure: a quota may slow the producer down."""

TOMBSTONES_A_TRANSACTION = 1_000
"""Of orphaned chunks. There may be many; they need not be deleted in one transaction."""

COMMIT_SECONDS = 4 * REQUEST_TIMEOUT
"""How long a commit is retried: giving up costs the training of a version, brokers recover."""

ATTEMPTS = 8
"""Aborted transactions in a row after which publishing fails: the last ones hold one chunk."""


class UnsentChunk(NamedTuple):
    """A chunk before it is sent: key and value of its record."""

    key: str
    data: memoryview


@dataclass
class _Sent:
    """Hash and offset of a chunk that was handed to the producer."""

    sha256: str = ""
    offset: int | None = None

    def note(self, error: object, record: Message) -> None:
        """Take note that it was delivered."""
        if error is None:
            self.offset = cast("Record", record).offset()


class ModelPublisher:
    """Write `models` and `model-chunks`; only the leading trainer has one.

    Its creation fences every earlier leader and aborts the transaction that it left open.

    Parameters
    ----------
    chunk_size
        Bytes of a chunk, unless its topic takes less.
    signer
        Signs each manifest; None leaves them unsigned.
    compression
        Of chunks, by librdkafka's names.
    commits
        Takes note of the outcome of each transaction.
    require_leader
        Raises if another trainer leads now. Called before a transaction is aborted.

    Attributes
    ----------
    max_bytes
        Largest version, of all its parts together, whose manifest has room for every chunk.

    Raises
    ------
    FencedError
        If another publisher is created meanwhile.
    TopicError
        If `models` or `model-chunks` accepts only too small records: see `record_limits`.
    """

    def __init__(
        self,
        clients: KafkaClients,
        topics: Topics,
        chunk_size: int,
        signer: Signer | None = None,
        compression: str = "none",
        commits: CommitHealth | None = None,
        require_leader: Callable[[], None] = lambda: None,
    ) -> None:
        limits = record_limits(clients, topics.models, topics.model_chunks)
        self._topics = topics
        self._chunk_size = min(chunk_size, limits.room(topics.model_chunks))
        self.max_bytes = self._chunk_size * (
            (limits.room(topics.models) - MANIFEST_BYTES) // CHUNK_ENTRY_BYTES
        )
        self._signer = signer
        self._commits = commits or CommitHealth(COMMIT_SECONDS)
        self._require_leader = require_leader
        self._sent: dict[str, _Sent] = {}
        self._more_headers: Headers = []
        self._at_once = CHUNKS_A_TRANSACTION
        self._client = clients.producer(
            topics.group("trainer"),
            queue_buffering_max_messages=QUEUED_CHUNKS,
            compression_type=compression,
            linger_ms=0,  # a chunk fills a batch by itself
            batch_size=limits.batch_bytes,
        )
        self._producer = TransactionalProducer(self._client)
        try:
            retried(self._producer.init)
        except KafkaException as exception:
            self.close()
            right = Right("TransactionalId", topics.group("trainer"), ("Write",))
            reason = FencedError(f"publisher: {exception.args[0].str()}")
            raise authorization_error_or(exception, right, reason) from None

    def close(self) -> None:
        """Give the producer up: nothing of it is in flight on return."""
        self._producer.give_up()

    def publish(
        self,
        manifest: Manifest,
        parts: Mapping[str, bytes],
        last_look: Callable[[], int | None] = lambda: None,
        between: Callable[[], None] = lambda: None,
        headers: Headers | None = None,
    ) -> Manifest:
        """Send the chunks, then commit the manifest; return it with the description of the parts.

        Parameters
        ----------
        parts
            Every kind, or none at all for a rejected version.
        last_look
            Called when every chunk is sent: returns the offset of `control` below which all
            commands are known. What it raises ends the publication, and no reader sees the version.
        between
            Called before every transaction; what it raises ends the publication as well.
        headers
            Of the manifest's record, in addition to its own.

        Raises
        ------
        FencedError
            If another trainer leads now; no reader will see this version.
        TopicError
            If `ATTEMPTS` transactions in a row fail.
        """
        left, published = _cut(manifest.version, parts, self._chunk_size), None
        self._sent, self._at_once = {}, CHUNKS_A_TRANSACTION
        self._more_headers = headers or []
        while published is None:
            between()
            send = partial(self._send_next, manifest, parts, left, last_look)
            sent, published = self._transact(send)
            left = left[sent:]
        return published

    def prune(self, manifests: Sequence[Manifest]) -> None:
        """Delete versions by tombstones: the manifest first, so that no reader looks for chunks.

        Raises
        ------
        FencedError, TopicError
            As `publish` does.
        """
        for manifest in manifests:
            self._transact(lambda m=manifest: self._produce_tombstones(m))  # type: ignore[misc]

    def delete_chunks(self, keys: Sequence[bytes]) -> None:
        """Delete chunks that no version names; raises as `publish` does."""
        for first in range(0, len(keys), TOMBSTONES_A_TRANSACTION):
            group = keys[first : first + TOMBSTONES_A_TRANSACTION]
            self._transact(lambda g=group: self._produce_chunk_tombstones(g))  # type: ignore[misc]

    def _produce_tombstones(self, manifest: Manifest) -> None:
        produce(self._client, self._topics.models, str(manifest.version), None)
        self._produce_chunk_tombstones(manifest.chunk_keys())

    def _produce_chunk_tombstones(self, keys: Iterable[str | bytes]) -> None:
        for key in keys:
            produce(self._client, self._topics.model_chunks, key, None)

    def _send_next(
        self,
        manifest: Manifest,
        parts: Mapping[str, bytes],
        left: Sequence[UnsentChunk],
        last_look: Callable[[], int | None],
    ) -> tuple[int, Manifest | None]:
        """Produce the records of one transaction; return the number of chunks, and the manifest.

        There is a manifest in the transaction that holds the last chunks; else it is None.
        """
        if len(left) <= self._at_once:
            return len(left), self._finish(manifest, parts, left, last_look)
        self._produce_chunks(left[: self._at_once])
        return self._at_once, None

    def _produce_chunks(self, chunks: Sequence[UnsentChunk]) -> None:
        """Produce chunks, and hash each while it is in flight."""
        topic, headers = self._topics.model_chunks, [(TYPE_HEADER, CHUNK_TYPE)]
        for chunk in chunks:
            sent = self._sent[chunk.key] = _Sent()
            produce(
                self._client, topic, chunk.key, bytes(chunk.data), headers, on_delivery=sent.note
            )
            sent.sha256 = sha256(chunk.data)

    def _finish(
        self,
        manifest: Manifest,
        parts: Mapping[str, bytes],
        chunks: Sequence[UnsentChunk],
        last_look: Callable[[], int | None],
    ) -> Manifest:
        """Produce the last chunks and, once their offsets are known, the manifest."""
        self._produce_chunks(chunks)
        described = tuple(self._describe(manifest.version, k, parts[k]) for k in KINDS if parts)
        self._client.flush(REQUEST_TIMEOUT)
        run = replace(
            manifest.run,
            places=tuple(self._part_offsets(manifest.version, part) for part in described),
            control_offset=last_look(),
            published_at=time.time_ns() // 1_000_000,
        )
        complete = replace(
            manifest, format=FORMAT, parts=described, digest=digest_of(described), run=run
        )
        value, own = encode_manifest(complete, self._signer)
        headers = [*own, *self._more_headers]
        produce(self._client, self._topics.models, str(manifest.version), value, headers)
        return complete

    def _describe(self, version: int, kind: str, part: bytes) -> Part:
        """Return what the manifest says of a part whose chunks were handed to the producer."""
        chunks = tuple(
            Chunk(len(chunk.data), self._sent[chunk.key].sha256)
            for chunk in _cut(version, {kind: part}, self._chunk_size)
        )
        return Part(kind, len(part), sha256(part), chunks)

    def _part_offsets(self, version: int, part: Part) -> PartOffsets:
        """Return the first and the last offset of a part.

        Raises
        ------
        KafkaException
            If a chunk was not delivered: the transaction must be aborted.
        """
        sent = [self._sent[chunk_key(version, part.kind, n)] for n in range(len(part.chunks))]
        offsets = [chunk.offset for chunk in sent if chunk.offset is not None]
        if len(offsets) < len(sent):
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "chunks are not delivered"))  # noqa: SLF001
        return PartOffsets(part.kind, min(offsets), max(offsets))

    def _transact(self, produce_records: Callable[[], T]) -> T:
        """Commit a transaction; repeat it after an abort: a version takes long to train."""
        self._commits.note_due()
        for attempt in range(1, ATTEMPTS + 1):
            try:
                result = self._producer.transact(lambda _: produce_records(), COMMIT_SECONDS)
            except KafkaException as exception:
                error = exception.args[0]
                log.warning("publishing failed", attempt=attempt, error=error.str())
                self._commits.note_failure(error.name(), error.str())
                self._at_once = max(1, self._at_once // 2)
                # A process that was frozen must not abort: librdkafka may request a new epoch then,
                # and the coordinator, which does not compare the old one, fences the new leader.
                self._require_leader()
                self._commits.note_abort(error.name())
                is_usable = self._producer.abort(error)
                if is_refusal(error):
                    raise
                if not is_usable:
                    raise FencedError(f"publishing: {error.str()}") from None
            except Exception as reason:
                # Readers would wait for a transaction that stays open.
                self._commits.note_abort("interrupted")
                if not self._producer.abort(INTERRUPTED):
                    raise FencedError(f"publishing was interrupted: {reason}") from reason
                raise
            else:
                self._commits.note_commit()
                return result
        raise TopicError(
            f"publishing to {self._topics.models} and {self._topics.model_chunks} failed "
            f"{ATTEMPTS} times, the last time with: {error.str()}; see the broker's log, and its "
            "quotas for this user and client (kafka.transaction_timeout gives them more time)"
        )


def _cut(version: int, parts: Mapping[str, bytes], size: int) -> list[UnsentChunk]:
    """Cut parts into chunks, in the order in which they are sent, without a copy."""
    return [
        UnsentChunk(chunk_key(version, kind, number), memoryview(parts[kind])[start : start + size])
        for kind in KINDS
        if kind in parts
        for number, start in enumerate(range(0, max(1, len(parts[kind])), size))
    ]
