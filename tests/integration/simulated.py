"""Clicks for tests, and what must become of them, worked out without the code under test."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from ader_stream.ader.data.vocabulary import Vocabulary
from ader_stream.ader.models.base import SessionModel
from ader_stream.ader.models.ranking import rank_targets
from ader_stream.types import MINUTE_MS, RECIPROCAL_UNIT, BlockRule, Click, Counts
from tests.integration.system import SessionRow

GAP = 30 * MINUTE_MS
PAUSES = (MINUTE_MS, MINUTE_MS, 5 * MINUTE_MS, GAP, GAP + 1)
"""Between two clicks of a walk: one as long as a session's gap allows, one a ms too long."""


def simulated_clicks(
    rule: BlockRule, blocks: int = 4, walks: int = 200, seed: int = 1
) -> list[list[Click]]:
    """Return the clicks of each block, in order of time.

    Visitors come several times a day and on several days, walks run across the ends of blocks,
    and every block brings items that nobody has seen before.
    """
    rng = random.Random(seed)
    start, end = rule.start(0), rule.start(blocks)
    clicks = [
        click
        for block in range(blocks)
        for _ in range(walks)
        for click in walk(rng, f"visitor-{rng.randrange(walks)}", rule, block)
    ]
    clicks.sort(key=lambda click: click.time)
    by_block: list[list[Click]] = [[] for _ in range(blocks)]
    for click in clicks:
        if start <= click.time < end:
            by_block[rule.block_of(click.time)].append(click)
    return by_block


def walk(rng: random.Random, key: str, rule: BlockRule, block: int) -> Iterator[Click]:
    """Yield the clicks of one walk along the shelves that a block has."""
    shelves = 60 + 10 * block
    time, item = rng.randrange(rule.start(block), rule.start(block + 1)), rng.randrange(shelves)
    for _ in range(rng.randrange(1, 8)):
        yield Click(key, f"item-{item}", time)
        time += rng.choice(PAUSES)
        item = (item + rng.choice((1, 1, 1, 2, 7))) % shelves


def expected_sessions(rule: BlockRule, clicks: Iterable[Click], gap: int = GAP) -> list[SessionRow]:
    """Cut clicks that come in order of time into sessions, sorted."""
    by_key: defaultdict[str, list[list[Click]]] = defaultdict(list)
    for click in clicks:
        sessions = by_key[click.key]
        if sessions and _continues(rule, sessions[-1][-1], click, gap):
            sessions[-1].append(click)
        else:
            sessions.append([click])
    return sorted(_row(rule, session) for of_key in by_key.values() for session in of_key)


def expected_counts(
    model: SessionModel, vocabulary: Vocabulary, sessions: Sequence[SessionRow]
) -> Counts:
    """Rank every known click of the sessions after the known ones before it."""
    prefixes, targets, unknown = [], [], 0
    for session in sessions:
        known: list[int] = []
        for item in session.items:
            index = vocabulary.index(item)
            if index is None:
                unknown += 1
                continue
            if known:
                prefixes.append(list(known))
                targets.append(index)
            known.append(index)
    return _counted(rank_targets(model, prefixes, targets).tolist(), unknown)


def _counted(ranks: Sequence[int], unknown: int) -> Counts:
    return Counts(
        targets=len(ranks),
        hits10=sum(rank < 10 for rank in ranks),
        hits20=sum(rank < 20 for rank in ranks),
        reciprocal10=sum(RECIPROCAL_UNIT // (rank + 1) for rank in ranks if rank < 10),
        reciprocal20=sum(RECIPROCAL_UNIT // (rank + 1) for rank in ranks if rank < 20),
        unknown=unknown,
    )


def _continues(rule: BlockRule, last: Click, click: Click, gap: int) -> bool:
    return rule.block_of(last.time) == rule.block_of(click.time) and click.time - last.time <= gap


def _row(rule: BlockRule, session: Sequence[Click]) -> SessionRow:
    first, last = session[0].time, session[-1].time
    items = tuple(click.item for click in session)
    return SessionRow(session[0].key, rule.block_of(first), items, first, last)
