"""How much of something may be used: so much at once, and so much a second after that."""

from __future__ import annotations

from collections.abc import Callable


class Allowance:
    """What is used up comes back over time (a token bucket).

    >>> now = 0.0
    >>> allowance = Allowance(2, per_second=1.0, clock=lambda: now)
    >>> allowance.take(), allowance.take(), allowance.take(), allowance.seconds_to(1)
    (True, True, False, 1.0)
    >>> now = 1.0
    >>> allowance.take()
    True

    Parameters
    ----------
    most
        That can be used at once.
    per_second
        That comes back.
    clock
        Seconds, ever rising.
    """

    def __init__(self, most: float, per_second: float, clock: Callable[[], float]) -> None:
        self._most = most
        self._per_second = per_second
        self._clock = clock
        self._left = most
        self._at = clock()

    def left(self) -> float:
        """Return what can be used now."""
        now = self._clock()
        self._left = min(self._most, self._left + (now - self._at) * self._per_second)
        self._at = now
        return self._left

    def take(self, amount: float = 1.0) -> bool:
        """Use some, if there is as much; return whether there was."""
        if self.left() < amount:
            return False
        self._left -= amount
        return True

    def spend(self, amount: float) -> None:
        """Use some, be it more than there was; give some back where `amount` is negative."""
        self._left = min(self._most, self.left() - amount)

    def seconds_to(self, amount: float) -> float:
        """Return how long it takes until as much can be used."""
        return max(0.0, (amount - self.left()) / self._per_second)
