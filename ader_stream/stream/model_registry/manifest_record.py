"""A manifest as a record of the models topic: encoded, decoded, and checked before it is used.

A reader verifies the bytes before it parses them: one header has their SHA-256, another one a
signature where the publisher signs. Everything else follows from them, because the manifest has the
SHA-256 of every part and of every chunk.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ader_stream.artifact import KINDS, sha256
from ader_stream.errors import ArtifactError, DecodeError
from ader_stream.stream.avro.codec import Headers, decode, encode
from ader_stream.stream.avro.plain import from_plain, to_plain
from ader_stream.stream.kafka.records import Record, headers_of
from ader_stream.stream.model_registry.manifest import (
    ACCEPTED,
    FORMAT,
    REJECTED,
    Manifest,
    Part,
    PartOffsets,
    digest_of,
)
from ader_stream.stream.model_registry.signing import Signer, TrustedKeys

CHECKSUM_HEADER = "ader-sha256"

MAX_MANIFEST = 4 * 2**20
"""Bytes of a manifest: one of a version of 40 GB."""

MAX_CHUNK = 4 * 2**20
"""Bytes of a chunk: the largest record of the system."""

DEFAULT_MAX_BYTES = 4 * 2**30


@dataclass(frozen=True)
class Trust:
    """Which versions a reader accepts.

    Parameters
    ----------
    keys
        Whose signatures count, and whether one is required.
    max_bytes
        Largest version, all its parts together.
    """

    keys: TrustedKeys = field(default_factory=TrustedKeys)
    max_bytes: int = DEFAULT_MAX_BYTES


def encode_manifest(manifest: Manifest, signer: Signer | None = None) -> tuple[bytes, Headers]:
    """Return the value and headers of a manifest's record."""
    value, headers = encode("ModelManifest", to_plain(manifest))
    headers.append((CHECKSUM_HEADER, sha256(value).encode()))
    if signer:
        headers.append(signer.header(value))
    return value, headers


def decode_manifest(record: Record, trust: Trust) -> Manifest:
    """Return the manifest in a record that is not a tombstone.

    Raises
    ------
    ArtifactError
        It is damaged, not signed as required, too new or too large, or contradicts itself.
    """
    return decode_manifest_bytes(record.value() or b"", headers_of(record), trust)


def decode_manifest_bytes(value: bytes, headers: Headers, trust: Trust) -> Manifest:
    """Return the manifest of a record's value and headers; raises as `decode_manifest` does."""
    named = dict(headers)
    if len(value) > MAX_MANIFEST:
        raise ArtifactError(
            f"manifest of {len(value)} bytes; expected at most {MAX_MANIFEST}", "too-large"
        )
    trust.keys.verify(value, named)
    checksum = named.get(CHECKSUM_HEADER)
    if checksum is not None and checksum != sha256(value).encode():
        raise ArtifactError("manifest's bytes are not those that were published", "manifest")
    manifest = _decode(value, headers, is_whole=checksum is not None)
    if manifest.format > 1 and checksum is None:
        raise ArtifactError("manifest has no checksum", "manifest")
    check_manifest(manifest, trust.max_bytes)
    return manifest


def _decode(value: bytes, headers: Headers, *, is_whole: bool) -> Manifest:
    """Parse a value; one whose checksum is right was written by a newer process if this fails."""
    try:
        type_name, plain = decode(value, headers)
    except DecodeError as error:
        raise ArtifactError(
            f"manifest: {error}", "newer-format" if is_whole else "manifest"
        ) from None
    if type_name != "ModelManifest":
        raise ArtifactError(f"expected a manifest, found a {type_name}", "manifest")
    return from_plain(Manifest, plain)


def check_manifest(manifest: Manifest, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
    """Raise ArtifactError if a manifest is too new, too large, or contradicts itself."""
    if manifest.format > FORMAT:
        raise ArtifactError(
            f"version {manifest.version} has format {manifest.format}, this process reads up "
            f"to {FORMAT}; update it",
            "newer-format",
        )
    for fault in _faults(manifest):
        raise ArtifactError(f"version {manifest.version}: {fault}", "manifest")
    if manifest.size > max_bytes:
        raise ArtifactError(
            f"version {manifest.version} has {manifest.size} bytes; models.max_bytes allows "
            f"{max_bytes}",
            "too-large",
        )


def _faults(manifest: Manifest) -> Iterator[str]:
    """Yield what contradicts itself; what follows a fault relies on its absence."""
    version, parts = manifest.version, manifest.parts
    if version < 1 or not manifest.blocks:
        yield f"expected a version from 1 on and a block, found {len(manifest.blocks)} blocks"
    if not (manifest.parent or 0) < version or (manifest.predecessor or 0) != version - 1:
        yield f"parent {manifest.parent} and predecessor {manifest.predecessor} do not fit"
    if manifest.status not in (ACCEPTED, REJECTED):
        yield f"status {manifest.status!r:.40} is not known"
    if _kinds(parts) != sorted(KINDS) and (parts or manifest.is_accepted):
        yield f"parts {_kinds(parts)!s:.200}; expected each of {', '.join(KINDS)} once"
    if _kinds(manifest.run.places) != _kinds(parts):
        yield "places are not those of the parts"
    for part in parts:
        yield from _faults_of_part(part)
    if parts and manifest.digest != digest_of(parts):
        yield "the digest is not that of the parts"


def _faults_of_part(part: Part) -> Iterator[str]:
    sizes = [chunk.size for chunk in part.chunks]
    fits = min(sizes, default=0) >= 0 and max(sizes, default=0) <= MAX_CHUNK
    if not fits or sum(sizes) != part.size:
        yield f"chunks of {part.kind} do not make its {part.size} bytes"
    if not all(map(_is_sha256, [part.sha256, *(chunk.sha256 for chunk in part.chunks)])):
        yield f"{part.kind} has a SHA-256 that is none"


def _kinds(entries: Iterable[Part | PartOffsets]) -> list[str]:
    return sorted(entry.kind for entry in entries)


def _is_sha256(text: str) -> bool:
    return re.fullmatch("[0-9a-f]{64}", text) is not None


def require_counts(manifest: Manifest, *, items: int, exemplars: int | None = None) -> None:
    """Raise ArtifactError if a version's tensors have other numbers of rows than its report.

    Parameters
    ----------
    items, exemplars
        How many the tensors have; None where they were not read.
    """
    report = manifest.report
    for name, found, expected in (
        ("items", items, report.items),
        ("exemplars", exemplars, report.exemplars),
    ):
        if found is not None and found != expected:
            raise ArtifactError(
                f"version {manifest.version} has {found} {name}; its manifest says {expected}"
            )
