"""A token bucket: an amount that may be used at once, and a rate at which it is refilled."""

from __future__ import annotations

from collections.abc import Callable


class TokenBucket:
    """A token bucket.

    >>> now = 0.0
    >>> allowance = TokenBucket(2, per_second=1.0, clock=lambda: now)
    >>> allowance.take(), allowance.take(), allowance.take(), allowance.seconds_to(1)
    (True, True, False, 1.0)
    >>> now = 1.0
    >>> allowance.take()
    True

    Parameters
    ----------
    most
        Size of the bucket.
    per_second
        Amount that is refilled in a second.
    clock
        Returns monotonic seconds.
    """

    def __init__(self, most: float, per_second: float, clock: Callable[[], float]) -> None:
        self._most = most
        self._per_second = per_second
        self._clock = clock
        self._left = most
        self._at = clock()

    def left(self) -> float:
        """Return the available amount."""
        now = self._clock()
        self._left = min(self._most, self._left + (now - self._at) * self._per_second)
        self._at = now
        return self._left

    def take(self, amount: float = 1.0) -> bool:
        """Use an amount if it is available; return whether it was."""
        if self.left() < amount:
            return False
        self._left -= amount
        return True

    def spend(self, amount: float) -> None:
        """Use an amount, even if it is not available; a negative amount is given back."""
        self._left = min(self._most, self.left() - amount)

    def seconds_to(self, amount: float) -> float:
        """Return the seconds until an amount is available."""
        return max(0.0, (amount - self.left()) / self._per_second)
