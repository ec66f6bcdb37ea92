"""Waits until a canary is certainly better than the stable version, or is not going to be."""

from __future__ import annotations

import time
from collections.abc import Callable

from ader_stream.errors import NotBetterError
from ader_stream.paired import Pair, PairedCounts

LOOK_SECONDS = 5.0
"""Between two looks: each reads the scores from their beginning."""

Look = Callable[[], tuple[Pair, PairedCounts]]
"""Returns the versions that are compared now, and their sums."""


def wait_until_better(
    look: Look,
    min_clicks: int,
    seconds: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[Pair, PairedCounts]:
    """Return the versions and what was measured, once the canary is better.

    Looks once where there are no seconds to wait.

    Raises
    ------
    NotBetterError
        If it is certainly worse, or the time is up: with what was measured.
    """
    until = clock() + seconds
    while True:
        pair, counts = look()
        if counts.is_better(min_clicks):
            return pair, counts
        left = until - clock()
        if counts.is_worse(min_clicks):
            raise NotBetterError(_refusal(pair, counts, "it is worse; `models pin` ends a canary"))
        if left <= 0:
            remedy = f"expected a lower bound of Recall@20 above 0 over {min_clicks:,} clicks or "
            remedy += "more, and none of MRR@20 that is certainly lower; --wait for more clicks"
            raise NotBetterError(_refusal(pair, counts, remedy))
        sleep(min(LOOK_SECONDS, left))


def _refusal(pair: Pair, counts: PairedCounts, remedy: str) -> str:
    return (
        f"version {pair.canary} is not promoted; minus version {pair.stable} it has {counts}: "
        f"{remedy}"
    )
