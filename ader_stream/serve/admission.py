"""Admit as many requests at a time as can be answered soon; refuse the others at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class BusyError(Exception):
    """Too many requests wait already, or this one has waited for too long."""


class Admission:
    """Count the requests that are answered or wait; the event loop alone calls it.

    Parameters
    ----------
    most
        Requests at a time.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._admitted = 0

    @contextmanager
    def admit(self) -> Iterator[None]:
        """Admit a request for as long as the context lasts.

        Raises
        ------
        BusyError
            If there are too many.
        """
        if self._admitted >= self._most:
            raise BusyError(f"{self._admitted} requests wait already (inference.max_requests)")
        self._admitted += 1
        try:
            yield
        finally:
            self._admitted -= 1


def check_deadline(waited: float, timeout_ms: str | None) -> None:
    """Raise `BusyError` if a request has waited (s) for longer than its caller does (ms)."""
    if timeout_ms and timeout_ms.isdecimal() and waited * 1000 >= int(timeout_ms):
        raise BusyError(
            f"the request has waited for {waited * 1000:.0f} ms, longer than its caller"
        )
