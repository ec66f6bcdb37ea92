"""A manifest: what one version is, as a record of the models topic, and back.

Whoever reads one knows its bytes before he parses them: a header has their SHA-256, and another
one a signature where the publisher signs. All else follows from them: the manifest names the
SHA-256 of every part and of every chunk.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ader_stream.artifact import KINDS, digest_of_hashes, sha256
from ader_stream.errors import ArtifactError, DecodeError
from ader_stream.stream.avro.codec import Headers, decode, encode
from ader_stream.stream.kafka.records import Record, headers_of
from ader_stream.stream.versions.signing import Signer, TrustedKeys

FORMAT = 8
"""Version of the artifact's format; a reader refuses a newer one and reads the one before.

1 had no checksum, status or gate; 2 did not say how clicks were cut, nor which requests were known;
3 did not say which exemplars were mislaid, 4 not which items were displaced, 5 neither which
sessions topic its offsets belong to, nor of which time its sessions are, 6 did not bound what the
gate measured, and 7 did not say for how long nobody has clicked an item, nor which have left.
"""

CHECKSUM_HEADER = "ader-sha256"

ACCEPTED, REJECTED = "accepted", "rejected"

MAX_MANIFEST = 4 * 2**20
"""Bytes of a manifest: one of a version of 40 GB."""

MAX_CHUNK = 4 * 2**20
"""Bytes of a chunk: the largest record of the system."""

DEFAULT_MAX_BYTES = 4 * 2**30

Manifest = dict[str, Any]
"""A ModelManifest's value (schemas/ModelManifest.avsc)."""


@dataclass(frozen=True)
class Trust:
    """What a reader takes.

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
    value, headers = encode("ModelManifest", manifest)
    headers.append((CHECKSUM_HEADER, sha256(value).encode()))
    if signer:
        headers.append(signer.header(value))
    return value, headers


def decode_manifest(record: Record, trust: Trust) -> Manifest:
    """Return the manifest in a record that is no tombstone.

    Raises
    ------
    ArtifactError
        It is damaged, not signed as it must be, too new or too large, or contradicts itself.
    """
    value, headers = record.value() or b"", headers_of(record)
    return decode_manifest_bytes(value, headers, trust)


def decode_manifest_bytes(value: bytes, headers: Headers, trust: Trust) -> Manifest:
    """Return the manifest behind bytes and headers; raises ArtifactError alike."""
    named = dict(headers)
    if len(value) > MAX_MANIFEST:
        raise ArtifactError(
            f"manifest of {len(value)} bytes; expected at most {MAX_MANIFEST}", "too-large"
        )
    trust.keys.verify(value, named)
    checksum = named.get(CHECKSUM_HEADER)
    if checksum is not None and checksum != sha256(value).encode():
        raise ArtifactError("manifest's bytes are not those that were published", "manifest")
    try:
        type_name, manifest = decode(value, headers)
    except DecodeError as error:
        is_newer = checksum is not None
        raise ArtifactError(
            f"manifest: {error}", "newer-format" if is_newer else "manifest"
        ) from None
    if type_name != "ModelManifest":
        raise ArtifactError(f"expected a manifest, found a {type_name}", "manifest")
    if manifest["format"] > 1 and checksum is None:
        raise ArtifactError("manifest has no checksum", "manifest")
    check_manifest(manifest, trust.max_bytes)
    return manifest


def check_manifest(manifest: Manifest, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
    """Raise ArtifactError if a manifest is too new, too large, or contradicts itself."""
    if manifest["format"] > FORMAT:
        raise ArtifactError(
            f"version {manifest['version']} has format {manifest['format']}, this process reads up "
            f"to {FORMAT}; update it",
            "newer-format",
        )
    for fault in _faults(manifest):
        raise ArtifactError(f"version {manifest['version']}: {fault}", "manifest")
    size = sum(part["size"] for part in manifest["parts"])
    if size > max_bytes:
        raise ArtifactError(
            f"version {manifest['version']} has {size} bytes; models.max_bytes allows {max_bytes}",
            "too-large",
        )


def _faults(manifest: Manifest) -> Iterator[str]:
    """Say what contradicts itself."""
    version, parts = manifest["version"], manifest["parts"]
    if version < 1 or not manifest["blocks"]:
        yield f"expected a version from 1 on and a block, found {len(manifest['blocks'])} blocks"
    if not (manifest["parent"] or 0) < version or (manifest["predecessor"] or 0) != version - 1:
        yield f"parent {manifest['parent']} and predecessor {manifest['predecessor']} do not fit"
    if manifest["status"] not in (ACCEPTED, REJECTED):
        yield f"status {manifest['status']!r:.40} is not known"
    if _kinds(parts) != sorted(KINDS) and (parts or manifest["status"] == ACCEPTED):
        yield f"parts {_kinds(parts)!s:.200}; expected each of {', '.join(KINDS)} once"
    if _kinds(manifest["run"]["places"]) != _kinds(parts):
        yield "places are not those of the parts"
    for part in parts:
        sizes = [chunk["size"] for chunk in part["chunks"]]
        if (
            min(sizes, default=0) < 0
            or max(sizes, default=0) > MAX_CHUNK
            or sum(sizes) != part["size"]
        ):
            yield f"chunks of {part['kind']} do not make its {part['size']} bytes"
        if not all(map(_is_sha256, [part["sha256"], *(c["sha256"] for c in part["chunks"])])):
            yield f"{part['kind']} has a SHA-256 that is none"
    if parts and manifest["digest"] != digest_of(parts):
        yield "the digest is not that of the parts"


def digest_of(parts: Any) -> str:
    """Return the digest of the parts that a manifest describes."""
    return digest_of_hashes({part["kind"]: part["sha256"] for part in parts})


def _kinds(entries: Any) -> list[str]:
    return sorted(entry["kind"] for entry in entries)


def _is_sha256(text: str) -> bool:
    return re.fullmatch("[0-9a-f]{64}", text) is not None


def require_counts(manifest: Manifest, **found: int) -> None:
    """Raise ArtifactError if a version's tensors have another number of rows than its report.

    Parameters
    ----------
    found
        ``items``, ``exemplars``: how many there are.
    """
    for name, count in found.items():
        if manifest["report"][name] != count:
            raise ArtifactError(
                f"version {manifest['version']} has {count} {name}; its manifest says "
                f"{manifest['report'][name]}"
            )
