"""Keep versions in memory: which one serves, and which one scores a block."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from ader_stream.ader.data.vocabulary import Vocabulary
from ader_stream.ader.models.base import SessionModel
from ader_stream.errors import ArtifactError
from ader_stream.paired import Pair


@dataclass(frozen=True, eq=False)
class Version:
    """A version that can recommend.

    Parameters
    ----------
    number
        The version's number.
    last_block
        The last block that it was trained on.
    published_at
        Time at which its manifest was produced, ms.
    frequent_items
        Items for a session without known items, best first.
    layer
        Item table with which sessions are ranked (I, D): made here, once, so that no request waits
        for it.
    """

    number: int
    last_block: int
    published_at: int
    model: SessionModel
    vocabulary: Vocabulary
    frequent_items: tuple[str, ...]
    layer: Tensor = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "layer", self.model.ranked_table())


class LoadedVersions:
    """All versions: which exist, which are loaded, and which one serves.

    A swap is one assignment: a request ends with the version with which it started. Thread-safe.

    Parameters
    ----------
    load
        Loads a version by its number; may raise ArtifactError.
    """

    def __init__(self, load: Callable[[int], Version]) -> None:
        self._load = load
        self._last_blocks: dict[int, int] = {}
        self._loaded: dict[int, Version] = {}
        self._lock = threading.Lock()
        self._canary: tuple[Version, float] | None = None
        self.served: Version | None = None

    def set_last_blocks(self, last_blocks: Mapping[int, int]) -> None:
        """Set which versions may score: number → last trained block."""
        with self._lock:
            self._last_blocks = dict(last_blocks)

    def withdraw(self, number: int) -> None:
        """Remove a version that cannot be loaded."""
        with self._lock:
            self._last_blocks.pop(number, None)

    def serve(self, version: Version) -> None:
        """Serve a version from now on."""
        with self._lock:
            self._loaded[version.number] = version
            self.served = version

    def serve_canary(self, version: Version | None, share: float = 0.0) -> None:
        """Serve a version to a share of the session keys; None ends it."""
        with self._lock:
            self._canary = (version, share) if version else None

    @property
    def canary(self) -> Version | None:
        """Return the version of a share of the session keys, if there is a canary."""
        return self._canary[0] if self._canary else None

    @property
    def compared(self) -> Pair | None:
        """Return the numbers of the served version and of the canary."""
        served, canary = self.served, self.canary
        return Pair(served.number, canary.number) if served and canary else None

    def compared_with(self, stable: Version, block: int) -> Version | None:
        """Return the canary, if a block's clicks compare it with the version that scores them.

        They do if that version is the served one and neither was trained on the block.
        """
        canary = self.canary
        if canary is None or stable is not self.served or canary.last_block >= block:
            return None
        return canary

    def for_key(self, key: str | None) -> Version | None:
        """Return the version that serves a session; without a key, the one with most sessions."""
        canary = self._canary
        if canary and key is not None and hash_share(key) < canary[1]:
            return canary[0]
        return self.served

    def scoring(self, block: int) -> Version | None:
        """Return the newest version with its last trained block before `block`; None without one.

        Only versions up to the served one count: a version scores from the moment it serves. A
        version that cannot be loaded is skipped from then on.
        """
        while (number := self._scoring_number(block)) is not None:
            try:
                return self._loaded_version(number)
            except ArtifactError:
                self.withdraw(number)
        return None

    def keep_for(self, blocks: Iterable[int]) -> None:
        """Unload versions that neither serve nor score one of these blocks."""
        needed = {self._scoring_number(block) for block in blocks}
        with self._lock:
            for number in list(self._loaded):
                if number not in needed and not self._is_served(number):
                    del self._loaded[number]

    def loaded(self, number: int) -> Version | None:
        """Return a version that is in memory."""
        canary = self.canary
        return canary if canary and canary.number == number else self._loaded.get(number)

    def _loaded_version(self, number: int) -> Version:
        version = self._loaded.get(number)
        if version is None:
            version = self._load(number)
            with self._lock:
                self._loaded[number] = version
        return version

    def _is_served(self, number: int) -> bool:
        return self.served is not None and number == self.served.number

    def _scoring_number(self, block: int) -> int | None:
        served = self.served
        if served is None:
            return None
        with self._lock:
            fitting = [
                number
                for number, last_block in self._last_blocks.items()
                if last_block < block and number <= served.number
            ]
        return max(fitting, default=None)


def hash_share(key: str) -> float:
    """Return the place of a session key by its hash, uniform in 0 … 1: the same on every worker.

    >>> 0 <= hash_share("visit-1") < 1
    True
    """
    data = key.encode(errors="surrogatepass")  # half of a surrogate pair is not valid UTF-8
    return int.from_bytes(hashlib.sha256(data).digest()[:7], "big") / 2**56
