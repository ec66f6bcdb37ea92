"""Run checks, each on its own: one that fails hides no other, and none ends in a traceback."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from confluent_kafka import KafkaError, KafkaException

from ader_stream.errors import AderError, AuthorizationError
from ader_stream.stream.diagnosis.finding import Finding, Level
from ader_stream.stream.kafka.clients import UNANSWERED

T = TypeVar("T")

_FORBIDDEN = (
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
)


@dataclass(frozen=True)
class Check(Generic[T]):
    """A family of findings.

    Parameters
    ----------
    name
        What is checked.
    run
        Checks the subject. It may raise any exception.
    asks
        Rights that the user needs for it, in addition to those of workers; empty if workers need
        all of them too. If such a right is missing, the worker may still be able to run.
    """

    name: str
    run: Callable[[T], Iterable[Finding]]
    asks: str = ""


def run_checks(checks: Iterable[Check[T]], subject: T) -> Iterator[Finding]:
    """Run checks one after the other; report a failure that several of them have once."""
    failures: list[Exception] = []
    for check in checks:
        try:
            for finding in check.run(subject):
                yield replace(finding, check=check.name)
        except Exception as failure:  # the other checks are worth more than a traceback
            if not any(failure is known for known in failures):
                failures.append(failure)
                yield replace(_as_finding(check, failure), check=check.name)


def _as_finding(check: Check[T], failure: Exception) -> Finding:
    if isinstance(failure, AuthorizationError) and check.asks:
        text = f"{check.name}: not checked, {failure}"
        return Finding("warning", text, f"to have it checked, allow this user {check.asks}")
    if isinstance(failure, AderError):
        return Finding("error", str(failure))
    if isinstance(failure, KafkaException):
        return _refused(check, failure.args[0])
    if isinstance(failure, TimeoutError):
        return Finding("error", f"{check.name}: not checked, {UNANSWERED}")
    text = f"{check.name}: not checked, {type(failure).__name__}: {failure}"
    return Finding("error", text, "this is a defect of doctor itself; its other findings are valid")


def _refused(check: Check[T], error: KafkaError) -> Finding:
    level: Level = "warning" if check.asks else "error"
    text = f"{check.name}: not checked, {error.str()}"
    if error.code() in _FORBIDDEN and check.asks:
        return Finding(level, text, f"to have it checked, allow this user {check.asks}")
    return Finding(level, text, "look at the broker's log, and try again")


class Once(Generic[T]):
    """Runs a function when its result is first needed, and never again, even if it fails.

    >>> once = Once(lambda: 1 / 0)
    >>> for _ in range(2):
    ...     try:
    ...         once()
    ...     except ZeroDivisionError as error:
    ...         print(error)
    division by zero
    division by zero
    """

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._results: list[T] = []
        self._failure: Exception | None = None

    def __call__(self) -> T:
        """Return the result, or raise the error of the function."""
        if self._failure:
            raise self._failure
        if not self._results:
            try:
                self._results.append(self._work())
            except Exception as error:
                self._failure = error
                raise
        return self._results[0]
