"""What goes wrong with clicks, injected into the sessions of a block."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from ader_stream.types import Session

Sessions = list[Session]


def replace_items(sessions: Sessions, rng: np.random.Generator) -> Sessions:
    """Rename a third of the items: the shop has replaced them."""
    items = sorted({item for session in sessions for item in session.items})
    gone = set(rng.choice(items, len(items) // 3, replace=False).tolist())
    return _with_items(sessions, {item: f"{item}-new" for item in gone})


def flip_popularity(sessions: Sessions, rng: np.random.Generator) -> Sessions:
    """Give the clicks of the most popular item to the least popular one, and so on."""
    counts = Counter(item for session in sessions for item in session.items)
    ranked = sorted(counts, key=lambda item: (-counts[item], item))
    return _with_items(sessions, dict(zip(ranked, reversed(ranked), strict=True)))


def add_bot(sessions: Sessions, rng: np.random.Generator) -> Sessions:
    """Add one key that clicks all day, a click in each half minute: a twentieth of all clicks."""
    items = sorted({item for session in sessions for item in session.items})
    count = sum(len(session.items) for session in sessions) // 20
    start = min(session.times[0] for session in sessions)
    clicked = rng.choice(items, count).tolist()
    times = range(start, start + count * 30_000, 30_000)
    parts = [slice(first, first + 1_000) for first in range(0, count, 1_000)]
    return sessions + [Session("bot", tuple(clicked[p]), tuple(times[p])) for p in parts]


def shorten_gap(sessions: Sessions, rng: np.random.Generator) -> Sessions:
    """Cut sessions at a gap that half of the pauses exceed: its setting was changed."""
    pauses = [np.diff(session.times) for session in sessions]
    gap = float(np.median(np.concatenate(pauses)))
    return [part for session in sessions for part in _cut(session, gap)]


def mix_units(sessions: Sessions, rng: np.random.Generator) -> Sessions:
    """Read a third of the sessions' times, which are seconds, as milliseconds."""
    wrong = rng.random(len(sessions)) < 1 / 3
    return [
        Session(session.key, session.items, _in_seconds(session.times)) if is_wrong else session
        for session, is_wrong in zip(sessions, wrong, strict=True)
    ]


Fault = Callable[[Sessions, np.random.Generator], Sessions]

FAULTS: dict[str, Fault] = {
    "a third of the items replaced": replace_items,
    "popularity flipped": flip_popularity,
    "bot": add_bot,
    "session gap changed": shorten_gap,
    "units of time mixed": mix_units,
}


def _with_items(sessions: Sessions, names: dict[str, str]) -> Sessions:
    return [
        Session(session.key, tuple(names.get(item, item) for item in session.items), session.times)
        for session in sessions
    ]


def _cut(session: Session, gap: float) -> Iterator[Session]:
    ends = [*(np.flatnonzero(np.diff(session.times) > gap) + 1).tolist(), len(session.items)]
    start = 0
    for end in ends:
        yield Session(session.key, session.items[start:end], session.times[start:end])
        start = end


def _in_seconds(times: Sequence[int]) -> tuple[int, ...]:
    return tuple(times[0] + (time - times[0]) // 1_000 for time in times)
