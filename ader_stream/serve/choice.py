"""Which items a list may hold: what is excluded, what is allowed, what the session has seen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ader_stream.ader.data.vocabulary import Vocabulary


@dataclass(frozen=True)
class Choice:
    """The items that a list may hold.

    Parameters
    ----------
    exclude
        Items that it may not hold.
    only
        The items that it may hold; None for all.
    exclude_seen
        It may not hold the session's own items.
    min_score
        Lowest score of its items; None for any. The most frequent items, listed where no item of
        the session is known, have the score 0.
    """

    exclude: frozenset[str] = frozenset()
    only: frozenset[str] | None = None
    exclude_seen: bool = False
    min_score: float | None = None

    @property
    def is_free(self) -> bool:
        """Return whether the list may hold every item."""
        return self == ALL

    def excluded(self, session: Iterable[str]) -> frozenset[str]:
        """Return the items that a session's list may not hold."""
        return self.exclude.union(session) if self.exclude_seen else self.exclude

    def filter(self, items: Iterable[str], session: Sequence[str]) -> list[str]:
        """Return those of some items that a session's list may hold, in the same order."""
        excluded = self.excluded(session)
        allowed = (item for item in items if self.only is None or item in self.only)
        return [item for item in allowed if item not in excluded]

    def columns(self, vocabulary: Vocabulary, session: Sequence[str]) -> Tensor:
        """Return the columns of scores that a session's list may hold, in order."""
        if self.only is None:
            allowed = torch.ones(len(vocabulary), dtype=torch.bool)
        else:
            allowed = torch.zeros(len(vocabulary), dtype=torch.bool)
            allowed[_columns(vocabulary, self.only)] = True
        allowed[_columns(vocabulary, self.excluded(session))] = False
        return allowed.nonzero()[:, 0]


ALL = Choice()


def _columns(vocabulary: Vocabulary, items: Iterable[str]) -> Tensor:
    return torch.tensor(vocabulary.encode(items), dtype=torch.int64) - 1
