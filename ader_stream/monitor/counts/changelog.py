"""Write the monitor's state, counts and offsets in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog
from confluent_kafka import KafkaException

from ader_stream.errors import FencedError
from ader_stream.stream.exactly_once.commit_health import CommitHealth
from ader_stream.stream.kafka.clients import KafkaClients
from ader_stream.stream.kafka.limits import record_limits
from ader_stream.stream.kafka.producing import Keyed, Transaction
from ader_stream.stream.kafka.rights import Right, authorization_error_or, is_refusal
from ader_stream.stream.topics.topics import Topics
from ader_stream.stream.transactions.producer import TransactionalProducer
from ader_stream.stream.transactions.requests import retried

log = structlog.get_logger(__name__)


class StateWriter:
    """Commit records of `monitor-state`; only the leading monitor has one.

    Its creation fences every earlier leader and aborts the transaction that it left open.

    Parameters
    ----------
    commits
        Takes note of the outcome of each transaction.
    require_leader
        Raises FencedError if another monitor leads now. Called before a transaction is aborted: a
        process that was frozen must not fence the new leader.

    Attributes
    ----------
    room
        Bytes that a record may have.

    Raises
    ------
    FencedError
        If another one is created meanwhile.
    """

    def __init__(
        self,
        clients: KafkaClients,
        topics: Topics,
        commits: CommitHealth,
        require_leader: Callable[[], None],
    ) -> None:
        limits = record_limits(clients, topics.monitor_state)
        self.room = limits.room(topics.monitor_state)
        self._topic = topics.monitor_state
        self._commits = commits
        self._require_leader = require_leader
        name = topics.group("monitor")
        producer = clients.producer(name, batch_size=limits.batch_bytes)
        self._producer = TransactionalProducer(producer)
        try:
            retried(self._producer.init)
        except KafkaException as exception:
            self.close()
            right = Right("TransactionalId", name, ("Write",))
            reason = FencedError(f"monitor-state: {exception.args[0].str()}")
            raise authorization_error_or(exception, right, reason) from None

    def write(self, records: Sequence[Keyed]) -> bool:
        """Commit records; return False if the transaction was aborted, so that it may be repeated.

        Raises
        ------
        FencedError
            If the producer is of no more use: another monitor leads, or its coordinator is gone.
        KafkaException
            If the user lacks a right.
        """
        transaction = Transaction()
        transaction.extend(self._topic, records, 0)
        self._commits.note_due()
        try:
            self._producer.transact(transaction.send)
        except KafkaException as exception:
            self._end_failed(exception)
            return False
        self._commits.note_commit()
        return True

    def close(self) -> None:
        """Give the producer up: nothing of it is in flight on return."""
        self._producer.give_up()

    def _end_failed(self, exception: KafkaException) -> None:
        """Abort the transaction that has failed."""
        error = exception.args[0]
        log.warning("statistics not committed", error=error.str())
        self._commits.note_failure(error.name(), error.str())
        self._require_leader()
        is_usable = self._producer.abort(error)
        if is_refusal(error):
            raise exception
        if not is_usable:
            raise FencedError(f"monitor-state: {error.str()}") from None
