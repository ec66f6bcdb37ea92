"""Stand by as a member of a group of one partition, and lead while it says so."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog
from confluent_kafka import KafkaException
from prometheus_client import Gauge

from ader_stream.errors import AuthorizationError, FencedError
from ader_stream.stream.exactly_once.permission import Permission, error_name, is_refused
from ader_stream.stream.groups.leadership import Leadership
from ader_stream.stream.kafka.clients import KafkaClients

log = structlog.get_logger(__name__)

POLL_SECONDS = 0.2
REJOIN_SECONDS = 1.0


class Election:
    """Lead whenever the group assigns its partition to this process; else stand by.

    A client that fails leaves the group, and a new one joins it again.

    Parameters
    ----------
    topic, group
        A topic of one partition, and the group whose owner of it leads.
    permission
        Waits for rights that are withdrawn; its `commits` take note of what fails.
    should_stop
        Returns whether the process is to end.
    leads
        Set to 1 while this process leads, else 0.
    """

    def __init__(
        self,
        clients: KafkaClients,
        topic: str,
        group: str,
        permission: Permission,
        should_stop: Callable[[], bool],
        leads: Gauge,
    ) -> None:
        self._clients = clients
        self._topic = topic
        self._group = group
        self._permission = permission
        self._commits = permission.commits
        self._should_stop = should_stop
        self._leads = leads
        self._leadership: Leadership | None = None

    def run(self, lead: Callable[[Leadership], None]) -> None:
        """Call `lead` whenever this process is chosen, until it should stop.

        Parameters
        ----------
        lead
            Returns when the process should stop; raises FencedError if another one leads.

        Raises
        ------
        AuthorizationError
            If a right is missing that this process has never had.
        """
        while not self._should_stop():
            leadership = Leadership(self._clients, self._topic, self._group)
            self._leadership, failure = leadership, None
            try:
                self._lead_when_chosen(leadership, lead)
            except (KafkaException, AuthorizationError) as error:
                failure = error
            finally:
                self._leads.set(0)
                leadership.close()
            if failure:
                self._wait_after(failure)

    def not_ready(self) -> str:
        """Say why nothing can be committed, or that the group is waited for; empty if all is well.

        A standby is ready.
        """
        has_joined = self._leadership is not None and self._leadership.has_joined
        if not has_joined and not self._commits.obstacle:
            return "waiting for the group"
        return self._commits.not_ready()

    def _lead_when_chosen(self, leadership: Leadership, lead: Callable[[Leadership], None]) -> None:
        self._commits.note_due()  # until it has joined, nothing can be committed
        while not self._should_stop():
            leadership.poll(POLL_SECONDS)
            self._leads.set(leadership.holds)
            if leadership.holds:
                self._lead(leadership, lead)
            elif leadership.has_joined:
                self._commits.note_nothing_due()

    def _lead(self, leadership: Leadership, lead: Callable[[Leadership], None]) -> None:
        try:
            lead(leadership)
        except FencedError as error:
            log.warning("no longer leading", reason=str(error))
            self._commits.note_failure(error_name(error), str(error))

    def _wait_after(self, failure: Exception) -> None:
        """Wait until the group may be joined again."""
        if is_refused(failure):
            self._permission.wait_after(failure, self._should_stop)
            return
        log.warning("has left the group and joins again", reason=str(failure))
        self._commits.note_failure(error_name(failure), str(failure))
        time.sleep(REJOIN_SECONDS)
