"""A block encoded for a model: item indices, and which clicks are held out.

N clicks, S sessions, I items.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ader_stream.ader.data.arrays import Bools, Float64, Int32, Int64
from ader_stream.ader.data.dataset import Samples, flatten, sub_sequences
from ader_stream.ader.data.evidence import Decay


@dataclass(frozen=True, eq=False)
class EncodedBlock:
    """Sessions of item indices end to end, and which of their clicks are held out.

    Parameters
    ----------
    items
        Item indices (N,).
    offsets
        Session s is ``items[offsets[s]:offsets[s + 1]]``; (S + 1,).
    held_out
        Clicks that are neither trained on as a target nor counted (N,).
    maxlen
        Clicks of a session that the model reads.
    """

    items: Int32
    offsets: Int64
    held_out: Bools
    maxlen: int

    @classmethod
    def of(
        cls, sessions: Iterable[Sequence[int]], maxlen: int, held_out: Bools | None = None
    ) -> EncodedBlock:
        """Return a block of sessions; `held_out` (S,) are those held out whole.

        >>> block = EncodedBlock.of([[1, 2], [2, 3]], maxlen=9, held_out=np.array([False, True]))
        >>> block.training_samples().labels.tolist(), block.clicks(3).tolist()
        ([2], [1, 1, 0])
        """
        items, offsets = flatten(sessions)
        if held_out is None:
            held_out = np.zeros(len(offsets) - 1, np.bool_)
        return cls(items, offsets, np.repeat(held_out, np.diff(offsets)), maxlen)

    def training_samples(self) -> Samples:
        """Return the sub-sequences whose target is not held out, in the block's order."""
        return self._samples(~self.held_out)

    def held_out_samples(self) -> Samples:
        """Return the sub-sequences whose target is held out, in the block's order."""
        return self._samples(self.held_out)

    def clicks_after(self) -> Int64:
        """Count the clicks after each one (N,) that may be counted.

        >>> block = EncodedBlock.of([[1, 2], [2, 3]], maxlen=9, held_out=np.array([True, False]))
        >>> block.clicks_after().tolist()
        [2, 2, 1, 0]
        """
        counted = ~self.held_out
        later: Int64 = counted.sum() - np.cumsum(counted)
        return later

    @property
    def counted(self) -> int:
        """Clicks that may be counted."""
        return int(np.count_nonzero(~self.held_out))

    @property
    def highest_item(self) -> int:
        """The highest index among the clicks that may be counted; 0 of none."""
        return int(self.items[~self.held_out].max(initial=0))

    def clicks(self, n_items: int) -> Int64:
        """Count the clicks of each item that may be counted (I,)."""
        return np.bincount(self.items[~self.held_out], minlength=n_items + 1)[1:]

    def weighed_clicks(self, n_items: int, decay: Decay) -> Float64:
        """Count the same clicks by their decayed weights at the end of the block (I,)."""
        counted = ~self.held_out
        weights = decay.weights(self.clicks_after()[counted])
        clicks = np.bincount(self.items[counted], weights, minlength=n_items + 1)[1:]
        return clicks.astype(np.float64)  # without clicks, bincount returns integers

    def session_of(self, targets: Int64, number: int) -> int:
        """Return the session of one of some targets; of one beyond them, the number of sessions."""
        if number >= len(targets):
            return len(self.offsets) - 1
        return int(np.searchsorted(self.offsets, targets[number], side="right")) - 1

    def split_at(self, session: int) -> tuple[EncodedBlock, EncodedBlock]:
        """Return the sessions before one, and those from it on.

        >>> before, after = EncodedBlock.of([[1, 2], [2, 3, 4]], maxlen=9).split_at(1)
        >>> before.items.tolist(), after.training_samples().labels.tolist()
        ([1, 2], [3, 4])
        """
        return self._sessions(0, session), self._sessions(session, len(self.offsets) - 1)

    def known_to(self, n_items: int) -> EncodedBlock:
        """Return the block without clicks on items beyond the first `n_items`."""
        known = self.items <= n_items
        before = np.concatenate([np.zeros(1, np.int64), np.cumsum(known)])
        return replace(
            self,
            items=self.items[known],
            offsets=before[self.offsets],
            held_out=self.held_out[known],
        )

    def without(self, targets: Int64) -> EncodedBlock:
        """Hold these targets out, and a session's first click where all after it are held out."""
        held_out = self.held_out.copy()
        held_out[targets] = True
        held_in = np.concatenate([np.zeros(1, np.int64), np.cumsum(held_out)])
        firsts, ends = self.offsets[:-1], self.offsets[1:]
        followers = ends - firsts - 1
        alone = (followers > 0) & (
            held_in[ends] - held_in[np.minimum(firsts + 1, ends)] == followers
        )
        held_out[firsts[alone]] = True
        return replace(self, held_out=held_out)

    def _sessions(self, first: int, end: int) -> EncodedBlock:
        clicks = slice(self.offsets[first], self.offsets[end])
        return replace(
            self,
            items=self.items[clicks],
            offsets=self.offsets[first : end + 1] - self.offsets[first],
            held_out=self.held_out[clicks],
        )

    def _samples(self, wanted: Bools) -> Samples:
        samples = sub_sequences(self.items, self.offsets, self.maxlen)
        return samples if wanted.all() else samples.take(np.flatnonzero(wanted[samples.targets]))
