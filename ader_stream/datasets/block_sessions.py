"""Cut the clicks of a block into sessions, as the sessionizer does with clicks that are on time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ader_stream.types import Click, Session


def block_sessions(clicks: Iterable[Click], gap: int) -> Iterator[Session]:
    """Yield the sessions of one block, by key in order of the first click.

    Parameters
    ----------
    clicks
        Of one block, in time order.
    gap
        Longest time between two clicks of a session, ms.

    >>> clicks = [Click("a", "hat", 0), Click("b", "cap", 1), Click("a", "hat", 9)]
    >>> [(session.key, session.times) for session in block_sessions(clicks, gap=5)]
    [('a', (0,)), ('a', (9,)), ('b', (1,))]
    """
    of_key: dict[str, list[Click]] = {}
    for click in clicks:
        of_key.setdefault(click.key, []).append(click)
    for key, its_clicks in of_key.items():
        start = 0
        for place in range(1, len(its_clicks) + 1):
            ends = place == len(its_clicks)
            if ends or its_clicks[place].time - its_clicks[place - 1].time > gap:
                part = its_clicks[start:place]
                items, times = (tuple(field) for field in zip(*(c[1:3] for c in part), strict=True))
                yield Session(key, items, times)
                start = place
