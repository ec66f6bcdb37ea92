"""Produce records outside transactions whose loss does no harm: a later one replaces each."""

from __future__ import annotations

from collections.abc import Callable

import structlog
from confluent_kafka import KafkaError, KafkaException, Message

from ader_stream.stream.avro.codec import Headers
from ader_stream.stream.kafka.clients import KafkaClients
from ader_stream.stream.kafka.producing import is_fatal, produce, settle
from ader_stream.stream.kafka.rights import Right, authorization_error_or

log = structlog.get_logger(__name__)


class BestEffortProducer:
    """Produces records without waiting, and raises no error of the client.

    A lost record is logged: its readers then learn later what it says. A producer that failed for
    good is replaced.
    """

    def __init__(self, clients: KafkaClients) -> None:
        self._clients = clients
        self._producer = clients.producer()

    def produce(
        self,
        topic: str,
        key: str,
        value: bytes | None,
        headers: Headers | None = None,
        on_loss: Callable[[], None] = lambda: None,
    ) -> None:
        """Produce a record; `on_loss` is called, here or later, if it is not delivered."""

        def delivered(error: KafkaError | None, _: Message) -> None:
            if error is not None:
                right = Right("Topic", topic, ("Write",))
                reason = authorization_error_or(KafkaException(error), right, KafkaException(error))
                log.warning("record not delivered", topic=topic, key=key, error=str(reason))
                on_loss()

        if not self._attempt(
            lambda: produce(
                self._producer, topic, key, value, headers, partition=0, on_delivery=delivered
            )
        ):
            on_loss()
        self.poll()

    def poll(self) -> None:
        """Process delivery reports, without waiting."""
        self._attempt(lambda: self._producer.poll(0))

    def flush(self, seconds: float) -> None:
        """Wait until every record is delivered, or lost."""
        self._attempt(lambda: self._producer.flush(seconds))

    def _attempt(self, request: Callable[[], object]) -> bool:
        try:
            request()
        except KafkaException as exception:
            error = exception.args[0]
            log.warning("best-effort producer failed", error=error.str())
            if is_fatal(error):
                settle([self._producer])
                self._producer = self._clients.producer()
            return False
        return True
