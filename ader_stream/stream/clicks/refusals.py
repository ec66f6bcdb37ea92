"""Stop a worker when the share of refused clicks shows that its settings must be wrong."""

from __future__ import annotations

from dataclasses import dataclass

RECENT_CLICKS = 1_000
"""Clicks over which the share of dead letters is computed."""

NO_WRONG_FORMAT = frozenset({"too-large"})
"""Reasons that never stop a worker: a worker that knows a click's size has decoded it, and a
click that is too large is refused at every start."""

OF_A_CLOCK = frozenset({"future", "late"})
"""Reasons that one visitor's wrong clock can cause: of one key in a row, one click counts."""

_RECENT_BITS = (1 << RECENT_CLICKS) - 1


@dataclass(frozen=True)
class RefusalRule:
    """How many dead letters are too many: a wrong deployment must not drain a topic into them.

    Parameters
    ----------
    ratio
        More than this share of the last `RECENT_CLICKS` clicks.
    run
        More than this many in a row.
    """

    ratio: float = 0.5
    run: int = 500


class Refusals:
    """Results of the last clicks of one partition.

    Its memory is committed with the offset, so that a restarted process does not start its count
    from zero: otherwise, each restart would drain some more clicks.

    >>> refusals = Refusals(RefusalRule(run=2))
    >>> refusals.accepted += 5
    >>> refusals.refuse(), refusals.refuse()
    ('', '')
    >>> Refusals(RefusalRule(run=2), refusals.memory()).refuse()
    '3 clicks in a row'

    Parameters
    ----------
    rule
        How many are too many.
    memory
        Result of `memory` at the last commit; empty before the first.

    Attributes
    ----------
    accepted
        Number of clicks accepted since the last refusal; the caller increments it.
    """

    def __init__(self, rule: RefusalRule, memory: str = "") -> None:
        self._rule = rule
        # A leading 1, then a bit for each click, the newest last: 1 where it was refused.
        self._bits = int(memory, 16) if memory else 1
        self._wrong_clock: bytes | None = None
        self.accepted = 0

    def refuse(self, reason: str = "malformed", key: bytes | None = None) -> str:
        """Record a refused click; return a description if there are too many, else an empty text.

        `key` is the key of its record.
        """
        if reason in NO_WRONG_FORMAT:
            return ""
        if reason in OF_A_CLOCK:
            if key is not None and key == self._wrong_clock:
                return ""
            self._wrong_clock = key
        self._append_accepted()
        self._bits = _recent(self._bits << 1 | 1)
        run = _newest_ones(self._bits)
        if run > self._rule.run:
            return f"{run} clicks in a row"
        refused = self._bits.bit_count() - 1
        is_full = self._bits > _RECENT_BITS
        if is_full and refused > self._rule.ratio * RECENT_CLICKS:
            return f"{refused} of the last {RECENT_CLICKS} clicks"
        return ""

    def memory(self) -> str:
        """Return the last clicks as text: at most 251 characters."""
        self._append_accepted()
        return f"{self._bits:x}"

    def _append_accepted(self) -> None:
        self._bits = _recent(self._bits << min(self.accepted, RECENT_CLICKS))
        self.accepted = 0


def remedy_for(reason: str) -> str:
    """Return the remedy for clicks that are refused for a reason."""
    if reason in OF_A_CLOCK:
        return (
            "check clicks.time_format, clocks and time zones of the producers of the clicks, "
            "clicks.max_ahead and max_behind, and sessions.late"
        )
    return "check clicks.format and clicks.*_field"


def _recent(bits: int) -> int:
    """Return the bits of the last clicks, after a leading 1."""
    return bits & _RECENT_BITS | _RECENT_BITS + 1 if bits > _RECENT_BITS else bits


def _newest_ones(bits: int) -> int:
    clicks = bits ^ 1 << bits.bit_length() - 1
    return (~clicks & clicks + 1).bit_length() - 1
