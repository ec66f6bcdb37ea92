"""Check a worker's rights while it runs, and wait for one that is withdrawn."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import structlog
from confluent_kafka import KafkaException

from ader_stream.errors import AuthorizationError
from ader_stream.stream.exactly_once.commit_health import CommitHealth
from ader_stream.stream.kafka.clients import KafkaClients
from ader_stream.stream.kafka.rights import (
    REFUSALS,
    Right,
    describe_missing_rights,
    find_missing_rights,
    is_refusal,
    refused,
)

log = structlog.get_logger(__name__)

RETRY_SECONDS = 5.0
"""Between two checks of the rights, and after a refusal that they do not explain."""

REMIND_SECONDS = 60.0

POLL_SECONDS = 0.1


class Permission:
    """Check what a worker may do on the cluster.

    Parameters
    ----------
    role, rights
        The worker, and the rights that it needs.
    commits
        Takes note of why nothing is committed.
    clock, sleep
        Monotonic seconds, and how to wait for some.
    """

    def __init__(
        self,
        clients: KafkaClients,
        role: str,
        rights: Sequence[Right],
        commits: CommitHealth,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._clients = clients
        self._role = role
        self._rights = rights
        self.commits = commits
        self._clock = clock
        self._sleep = sleep
        self._was_granted = False

    def note_granted(self) -> None:
        """Take note that the worker has begun: what is refused later was allowed before."""
        self._was_granted = True

    def lacks(self) -> str:
        """Return what is missing now, as far as brokers answer; empty if nothing is."""
        found = find_missing_rights(self._clients.admin(), self._rights)
        return describe_missing_rights(found, self._clients, self._role) if found else ""

    def wait_after(self, error: Exception, should_stop: Callable[[], bool]) -> None:
        """Wait until a request that failed with this error may be repeated.

        Raises
        ------
        AuthorizationError
            If the worker has never had the right: its operator sees that at once.
        """
        reason = self.lacks() or _describe(error, self._rights)
        if not self._was_granted:
            raise AuthorizationError(reason) from None
        log.warning("waiting for a right that was taken away", reason=reason)
        self.commits.note_failure(error_name(error), reason)
        self._pause(should_stop)
        self.wait_until_granted(lambda: None, should_stop)

    def wait_until_granted(
        self, between: Callable[[], None], should_stop: Callable[[], bool] = lambda: False
    ) -> None:
        """Return when no right is missing; `between` is called repeatedly until then."""
        reminded_at = self._clock()
        while not should_stop() and (reason := self.lacks()):
            if self._clock() - reminded_at >= REMIND_SECONDS:
                reminded_at = self._clock()
                log.warning("still waiting for a right", reason=reason)
            self.commits.note_obstacle(reason)
            self._pause(should_stop, between)

    def _pause(
        self, should_stop: Callable[[], bool], between: Callable[[], None] = lambda: None
    ) -> None:
        until = self._clock() + RETRY_SECONDS
        while not should_stop() and self._clock() < until:
            between()
            self._sleep(POLL_SECONDS)


def error_name(error: Exception) -> str:
    """Return the name of an error, one of few: it is a label."""
    if isinstance(error, KafkaException):
        return str(error.args[0].name())
    return type(error).__name__


def _describe(error: Exception, rights: Sequence[Right]) -> str:
    """Name the right that an error is about, if there is only one of its kind."""
    if not isinstance(error, KafkaException):
        return str(error)
    resource = REFUSALS.get(error.args[0].code())
    candidates = [right for right in rights if right.resource == resource and not right.when]
    return str(refused(candidates[0]) if len(candidates) == 1 else error.args[0].str())


def is_refused(error: Exception) -> bool:
    """Whether an error says that the user lacks a right."""
    if isinstance(error, KafkaException):
        return is_refusal(error.args[0])
    return isinstance(error, AuthorizationError)
