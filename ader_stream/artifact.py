"""An artifact: the parts of one version as bytes, and the digest that identifies their content."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

Blob = bytes | bytearray | memoryview

KINDS = ("optimizer", "exemplars", "vocabulary", "weights")
"""The parts of a version, in the order in which they are published: serving needs the last two,
which therefore lie close together."""


def sha256(data: Blob) -> str:
    """Return the SHA-256 of bytes as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def content_digest(parts: Mapping[str, Blob]) -> str:
    """Return the digest of a version's parts, by kind: 64 hexadecimal digits."""
    return digest_of_hashes({kind: sha256(part) for kind, part in parts.items()})


def digest_of_hashes(hashes: Mapping[str, str]) -> str:
    """Return the digest of a version from the SHA-256 of each part.

    It is the SHA-256 of one line ``KIND SHA-256`` a part, in the order of the kinds.

    >>> digest_of_hashes({"weights": sha256(b"w")}) == content_digest({"weights": b"w"})
    True
    """
    lines = (f"{kind} {hashed}\n" for kind, hashed in sorted(hashes.items()))
    return sha256("".join(lines).encode())
