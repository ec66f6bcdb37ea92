"""The serving topic: which worker serves which version, and the partitions assigned to it."""

from __future__ import annotations

from collections.abc import Mapping

from ader_stream.stream.avro.codec import encode
from ader_stream.stream.kafka.best_effort import BestEffortProducer
from ader_stream.stream.kafka.clients import KafkaClients
from ader_stream.stream.kafka.reading import REQUEST_TIMEOUT
from ader_stream.stream.topics.topics import Topics


class ServingLog:
    """Says what one worker serves, whenever that changes.

    Parameters
    ----------
    worker
        host:port at which the worker answers: its name, too.
    """

    def __init__(self, clients: KafkaClients, topics: Topics, worker: str) -> None:
        self._producer = BestEffortProducer(clients)
        self._topic = topics.serving
        self._worker = worker
        self._said: Mapping[str, object] | None = None

    def show(
        self,
        version: int | None,
        live_at: int | None,
        publish_to_live: float | None,
        open_blocks: Mapping[int, int | None],
    ) -> None:
        """Write a record if anything in it is new.

        Parameters
        ----------
        version, live_at, publish_to_live
            The served version, when it went live (ms), and how long after its publishing (s).
        open_blocks
            Assigned partition → the first block that has not ended there.
        """
        partitions = [{"partition": p, "open_block": block} for p, block in open_blocks.items()]
        value = {
            "worker": self._worker,
            "address": self._worker,
            "version": version,
            "live_at": live_at,
            "publish_to_live_seconds": publish_to_live,
            "partitions": partitions,
        }
        if value == self._said:
            self._producer.poll()
            return
        self._said = value
        self._producer.produce(
            self._topic, self._worker, *encode("Serving", value), on_loss=self._say_again
        )

    def withdraw(self) -> None:
        """Say that the worker serves no more."""
        self._producer.produce(self._topic, self._worker, None)
        self._producer.flush(REQUEST_TIMEOUT)

    def _say_again(self) -> None:
        self._said = None
