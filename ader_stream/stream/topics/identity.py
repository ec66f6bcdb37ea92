"""Which topic it is: one that was deleted and made again has the same name and another id."""

from __future__ import annotations

from collections.abc import Callable

from confluent_kafka import TopicCollection
from confluent_kafka.admin import AdminClient

from ader_stream.errors import TopicError
from ader_stream.stream.topics.topics import ADMIN_TIMEOUT, topic_id

ASK_SECONDS = 10.0
"""How long the question may take: as long as the requests of a transaction."""


class TopicIdentity:
    """Watches that a topic stays the one that it was.

    A reader is not told: it goes on in the new topic at the offset that it had in the old one, as
    soon as there is such an offset.
    """

    def __init__(self, admin: AdminClient, topic: str) -> None:
        self._admin = admin
        self._topic = topic
        self.id = topic_id(admin, topic)

    def ask(self) -> Callable[[], None]:
        """Send the question; return what waits for the answer.

        That raises TopicError if it is another topic, and KafkaException if nobody answers. What
        was read before the question is of the topic that it was.
        """
        collection = TopicCollection([self._topic])
        [answer] = self._admin.describe_topics(collection, request_timeout=ASK_SECONDS).values()

        def require_same() -> None:
            found = str(answer.result(ADMIN_TIMEOUT).topic_id)
            if found != self.id:
                raise TopicError(made_again(self._topic, self.id, found))

        return require_same


def made_again(topic: str, before: str, now: str) -> str:
    """Say that a topic was deleted and made again, by what it was and is, and how to go on."""
    return (
        f"{topic} was deleted and made again: its id was {before} and is now {now}; the place and "
        "what is open belong to a log that is gone, and nothing of the new one was committed. "
        "`ader-stream reset --yes` begins again with it once all workers are stopped (without "
        "--yes it shows what goes)"
    )
