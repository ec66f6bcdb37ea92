"""The one way to commit, abort and give up transactions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import structlog
from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from ader_stream.stream.kafka.clients import KafkaClients, close
from ader_stream.stream.kafka.producing import settle
from ader_stream.stream.kafka.reading import REQUEST_TIMEOUT
from ader_stream.stream.transactions.requests import is_lost, retried

log = structlog.get_logger(__name__)
T = TypeVar("T")

INTERRUPTED = KafkaError(KafkaError._APPLICATION, txn_requires_abort=True)  # noqa: SLF001
"""Error of a transaction that was ended by something else than Kafka."""


class TransactionalProducer:
    """Commit transactions under a transactional id.

    `init`, `begin`, `send_offsets` and `commit` send one request each, for callers that repeat
    them side by side; `transact` is a whole transaction. All raise `KafkaException`.

    Parameters
    ----------
    client
        Producer of the id.

    Attributes
    ----------
    is_open
        Whether a transaction was begun, and neither committed nor aborted since.
    """

    def __init__(self, client: Producer) -> None:
        self.client = client
        self.is_open = False

    def init(self, seconds: float = REQUEST_TIMEOUT) -> None:
        """Fence every earlier producer of the id, and abort the transaction that it left open."""
        self.client.init_transactions(seconds)

    def begin(self) -> None:
        """Begin a transaction."""
        self.client.begin_transaction()
        self.is_open = True

    def send_offsets(self, offsets: Sequence[TopicPartition], group: Any, seconds: float) -> None:
        """Add offsets of a consumer group to the transaction; `group` is its metadata."""
        self.client.send_offsets_to_transaction([*offsets], group, seconds)

    def commit(self, seconds: float = REQUEST_TIMEOUT) -> None:
        """Commit the transaction."""
        self.client.commit_transaction(seconds)
        self.is_open = False

    def serve(self) -> None:
        """Call back what has gathered, statistics too, of a producer that is in no request.

        Errors are logged: the next request of a producer that has failed fails as well.
        """
        try:
            self.client.poll(0)
        except KafkaException as exception:
            log.warning("producer", error=exception.args[0].str())

    def transact(self, fill: Callable[[Producer], T], seconds: float = REQUEST_TIMEOUT) -> T:
        """Begin a transaction, fill it and commit it; return what `fill` returns.

        The commit is repeated for at most `seconds`. After an error the transaction is still open:
        the caller decides whether to `abort`.
        """
        self.begin()
        result = fill(self.client)
        retried(self.commit, seconds)
        return result

    def abort(self, error: KafkaError) -> bool:
        """Abort the transaction that failed with this error; return whether the producer is usable.

        The one way to end a transaction that has failed. A producer that is lost, or cannot abort,
        is given up: the next owner's `init` aborts what it has begun. Raises no client error,
        because a lost producer may raise its fatal error in any call.
        """
        if not is_lost(error) and self._has_aborted():
            return True
        self.give_up()
        return False

    def give_up(self) -> None:
        """Give the producer up: nothing of it is in flight on return. Raises no client error."""
        give_up_all([self])

    def _has_aborted(self) -> bool:
        try:
            retried(lambda: self.client.abort_transaction(REQUEST_TIMEOUT))
        except KafkaException as exception:
            log.warning("abort failed", error=exception.args[0].str())
            return False
        self.is_open = False
        return True


def give_up_all(producers: Iterable[TransactionalProducer]) -> None:
    """Give producers up together, as `TransactionalProducer.give_up` does with one."""
    settle([producer.client for producer in producers])


@contextmanager
def sole_producer(
    client: Producer, failure: Callable[[KafkaException], Exception] = lambda exception: exception
) -> Iterator[TransactionalProducer]:
    """Yield a client as the only producer of its transactional id, for a command or a transaction.

    Earlier owners are fenced, and their open transactions are aborted. At the end the producer is
    given up; a transaction that is open because of an error is aborted.

    Parameters
    ----------
    failure
        Returns what to raise in place of a client error.
    """
    producer = TransactionalProducer(client)
    try:
        retried(producer.init)
        yield producer
    except KafkaException as exception:
        producer.abort(exception.args[0])
        raise failure(exception) from None
    except BaseException:
        if producer.is_open:
            producer.abort(INTERRUPTED)
        raise
    finally:
        producer.give_up()


def send_offsets_as_outsider(
    producer: TransactionalProducer,
    clients: KafkaClients,
    group: str,
    offsets: Sequence[TopicPartition],
) -> None:
    """Add offsets of a group to an open transaction without joining the group."""
    outsider = clients.group_consumer(group)
    try:
        producer.send_offsets(offsets, outsider.consumer_group_metadata(), REQUEST_TIMEOUT)
    finally:
        close(outsider)
