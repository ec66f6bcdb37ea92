"""Detect that a topic was deleted and created again: it has the same name and another id."""

from __future__ import annotations

from collections.abc import Callable

from confluent_kafka import TopicCollection
from confluent_kafka.admin import AdminClient

from ader_stream.errors import TopicError
from ader_stream.stream.topics.topics import ADMIN_TIMEOUT, topic_id

ASK_SECONDS = 10.0
"""Seconds that the request may take: as long as the requests of a transaction."""


class TopicIdentity:
    """Checks that a topic stays the same.

    A reader is not notified. It continues in the new topic at its offset in the old one, as soon as
    that offset exists.
    """

    def __init__(self, admin: AdminClient, topic: str) -> None:
        self._admin = admin
        self._topic = topic
        self.id = topic_id(admin, topic)

    def ask(self) -> Callable[[], None]:
        """Send the request; return a function that waits for the answer.

        The function raises TopicError if it is another topic, and KafkaException without an answer.
        Records that were read before the request belong to the original topic.
        """
        collection = TopicCollection([self._topic])
        [answer] = self._admin.describe_topics(collection, request_timeout=ASK_SECONDS).values()

        def require_same() -> None:
            found = str(answer.result(ADMIN_TIMEOUT).topic_id)
            if found != self.id:
                raise TopicError(made_again(self._topic, self.id, found))

        return require_same


def made_again(topic: str, before: str, now: str) -> str:
    """Return a message that a topic was deleted and created again, with both ids and the remedy."""
    return (
        f"{topic} was deleted and created again: its id was {before} and is now {now}; offset and "
        "open sessions belong to a deleted log, and nothing of the new one was committed. "
        "`ader-stream reset --yes` starts again with it when all workers are stopped (without "
        "--yes it shows what would be deleted)"
    )
