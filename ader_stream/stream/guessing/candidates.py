"""Candidates for a field, in order of their scores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

CLOSE = 0.8
"""A candidate with this share of the first one's score is an alternative."""

MOST_ALTERNATIVES = 4


@dataclass(frozen=True)
class Candidate:
    """A path that may be a field.

    Parameters
    ----------
    path
        As settings name it.
    score
        Evidence for it; only the order and the ratio to others mean something.
    evidence
        Why, in words and numbers.
    unit
        Of an event time: its `clicks.time_format`.
    """

    path: str
    score: float
    evidence: str
    unit: str = ""


@dataclass(frozen=True)
class Choice:
    """The best candidate, those that are nearly as good, and those with the same values.

    Parameters
    ----------
    same
        Paths of nearly as good candidates that have the value of the best one in every record.
    """

    best: Candidate
    alternatives: tuple[Candidate, ...] = ()
    same: tuple[str, ...] = ()

    def without_same(self, values: Mapping[str, object]) -> Choice:
        """Return it with the alternatives moved to `same` whose `values`, by path, are the best's.

        They leave no doubt: each of them gives the same clicks.
        """
        of_best = values[self.best.path]
        same = [one.path for one in self.alternatives if values[one.path] == of_best]
        others = [one for one in self.alternatives if one.path not in same]
        return replace(self, alternatives=tuple(others), same=tuple(same))


def choose(candidates: Iterable[Candidate], least: float = 0.0) -> Choice | None:
    """Return the candidate with the highest score and the close ones; None if none has `least`."""
    ranked = sorted(candidates, key=lambda candidate: -candidate.score)
    if not ranked or ranked[0].score <= least:
        return None
    best, *others = ranked
    close = [other for other in others if other.score >= CLOSE * best.score]
    return Choice(best, tuple(close[:MOST_ALTERNATIVES]))
