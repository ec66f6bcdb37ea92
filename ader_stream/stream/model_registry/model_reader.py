"""Read the parts that a manifest names, and verify them before they are used."""

from __future__ import annotations

import mmap
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import structlog
from confluent_kafka import KafkaException

from ader_stream.artifact import sha256
from ader_stream.errors import ArtifactError, OffsetError, TopicError
from ader_stream.stream.kafka.clients import KafkaClients
from ader_stream.stream.kafka.reading import offset_range, read_range
from ader_stream.stream.model_registry.manifest import Manifest, Part, chunk_key
from ader_stream.stream.model_registry.manifest_record import Trust, check_manifest
from ader_stream.stream.topics.topics import Topics

log = structlog.get_logger(__name__)

PASSING = ("missing-chunk", "unreachable")
"""Reasons that may disappear: a replica that lags, a broker that restarts."""

RETRIED = (*PASSING, "damaged-chunk")
"""Reasons for which reading is repeated: another replica may answer."""

ATTEMPTS = 3
FIRST_PAUSE_SECONDS = 0.5
"""Pause before the second attempt; doubled each time."""

CHUNKS_AT_ONCE = 8
"""Chunks that one `consume` call requests: about 7 MB, however large the version is."""

AHEAD_KIB = 8 * 1024
"""KiB of chunks that are fetched in advance: enough to keep a reader busy."""


@dataclass(frozen=True)
class _Wanted:
    """A chunk to read: where its bytes belong in the part, and what they must be."""

    kind: str
    start: int
    size: int
    sha256: str


@dataclass(frozen=True)
class ModelReader:
    """Reads parts, and refuses any that is not what its manifest says.

    Parameters
    ----------
    trust
        Which signatures and sizes are accepted.
    pause
        Waits for a number of seconds before an attempt is repeated.
    between
        Called after every chunk; an exception ends the reading.
    """

    clients: KafkaClients
    topics: Topics
    trust: Trust = field(default_factory=Trust)
    pause: Callable[[float], None] = time.sleep
    between: Callable[[], None] = lambda: None

    def fetch(self, manifest: Manifest, kinds: Sequence[str]) -> dict[str, memoryview]:
        """Return parts, verified chunk by chunk; each is in memory once.

        A failure that may be temporary is retried, for a few seconds in total.

        Raises
        ------
        ArtifactError
            The version is too new or too large, a chunk is missing, or bytes are not what the
            manifest says.
        """
        check_manifest(manifest, self.trust.max_bytes)
        parts = {part.kind: part for part in manifest.parts if part.kind in kinds}
        if missing := set(kinds) - set(parts):
            raise ArtifactError(
                f"version {manifest.version} has no {', '.join(sorted(missing))}", "manifest"
            )
        for attempt in range(ATTEMPTS):
            try:
                return self._fetch_once(manifest, parts)
            except ArtifactError as error:
                if error.reason not in RETRIED or attempt == ATTEMPTS - 1:
                    raise
                log.warning("fetching again", version=manifest.version, reason=str(error))
                self.pause(FIRST_PAUSE_SECONDS * 2**attempt)
        raise AssertionError("the last attempt returns or raises")

    def _fetch_once(self, manifest: Manifest, parts: Mapping[str, Part]) -> dict[str, memoryview]:
        version = manifest.version
        wanted = dict(pair for part in parts.values() for pair in _chunks_of(version, part))
        buffers = {kind: _buffer(part.size) for kind, part in parts.items()}
        faults = dict.fromkeys(wanted, "missing")
        for key, value in self._chunks(manifest, parts):
            self.between()
            place = wanted.get(key)
            if place is None or key not in faults:
                continue
            if len(value) == place.size and sha256(value) == place.sha256:
                buffers[place.kind][place.start : place.start + place.size] = value
                del faults[key]
            else:  # an orphan of a publisher that died, or damaged
                faults[key] = "damaged"
            if not faults:
                break
        for key, fault in faults.items():
            _, kind, number = key.split("/")
            what = "is missing" if fault == "missing" else "is not what the manifest says"
            raise ArtifactError(
                f"version {version}: chunk {number} of {kind} {what}", f"{fault}-chunk"
            )
        for kind, part in parts.items():
            if sha256(buffers[kind]) != part.sha256:
                raise ArtifactError(
                    f"version {version}: {kind} is not what the manifest says", "manifest"
                )
        return buffers

    def _chunks(self, manifest: Manifest, parts: Mapping[str, Part]) -> Iterator[tuple[str, bytes]]:
        """Yield key and value of each record from the parts' first chunk to their last."""
        places = [place for place in manifest.run.places if place.kind in parts]
        first = min((place.first_offset for place in places), default=0)
        end = max((place.last_offset for place in places), default=-1) + 1
        topic = self.topics.model_chunks
        try:
            end = min(end, offset_range(self.clients, topic, 0)[1])
            for record in read_range(self.clients, topic, 0, first, end, CHUNKS_AT_ONCE, AHEAD_KIB):
                yield (record.key() or b"").decode(errors="replace"), record.value() or b""
        except OffsetError as error:
            raise ArtifactError(
                f"version {manifest.version}: its chunks are gone: {error}", "missing-chunk"
            ) from None
        except (TopicError, KafkaException) as error:
            raise ArtifactError(f"version {manifest.version}: {error}", "unreachable") from None


def _buffer(size: int) -> memoryview:
    """Return memory that the system allocates when it is written to, whatever size is claimed.

    It returns to the system as soon as it is freed. The C library would keep most of it: glibc
    raises its threshold for mapped blocks with every one that it frees.
    """
    return memoryview(mmap.mmap(-1, size)) if size else memoryview(bytearray())


def _chunks_of(version: int, part: Part) -> Iterator[tuple[str, _Wanted]]:
    """Yield key and content of each chunk of a part."""
    start = 0
    for number, chunk in enumerate(part.chunks):
        key = chunk_key(version, part.kind, number)
        yield key, _Wanted(part.kind, start, chunk.size, chunk.sha256)
        start += chunk.size
