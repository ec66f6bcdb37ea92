"""Hashes of the keys in a block, so that no request is compared with each key."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ader_stream.stream.blocks.columns import SessionColumns
from ader_stream.stream.control.erasures import Erasure, utf8_hash

PREFIX_BYTES = 8
"""Bytes kept of a hash: few sessions share them by chance, and are distinguished afterwards."""

Prefixes = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class HashedKeys:
    """Hashes of a block's keys, 8 bytes a session for each salt, computed when they are needed.

    Parameters
    ----------
    by_salt
        Salt → the first bytes of each session's hash (S,).
    """

    by_salt: dict[bytes, Prefixes] = field(default_factory=dict)

    def rows_of(self, sessions: SessionColumns, requests: Iterable[Erasure]) -> list[int]:
        """Return the sessions named in requests, and perhaps a few others."""
        wanted: dict[bytes, list[bytes]] = {}
        for request in requests:
            wanted.setdefault(request.salt, []).append(request.key_hash[:PREFIX_BYTES])
        rows = set[int]()
        for salt, prefixes in wanted.items():
            is_named = np.isin(self._of(sessions, salt), _as_numbers(prefixes))
            rows.update(np.flatnonzero(is_named).tolist())
        return sorted(rows)

    def take(self, rows: npt.NDArray[np.int64]) -> HashedKeys:
        """Return the hashes of the sessions at `rows`."""
        return HashedKeys({salt: prefixes[rows] for salt, prefixes in self.by_salt.items()})

    def _of(self, sessions: SessionColumns, salt: bytes) -> Prefixes:
        if salt not in self.by_salt:
            hashes = (utf8_hash(key, salt)[:PREFIX_BYTES] for key in sessions.utf8_keys())
            self.by_salt[salt] = _as_numbers(hashes)
        return self.by_salt[salt]


def _as_numbers(prefixes: Iterable[bytes]) -> Prefixes:
    return np.frombuffer(b"".join(prefixes), np.uint64)
