"""Send refused clicks back to the clicks topic, each once."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import partial

from confluent_kafka import KafkaError, KafkaException, Producer

from ader_stream.errors import AderError, ClickError, FencedError, IgnoredError
from ader_stream.stream.avro.codec import encode
from ader_stream.stream.clicks.decoder import (
    ClickDecoder,
    ClickFormat,
    decode_heartbeat,
)
from ader_stream.stream.control.erasures import read_erasures
from ader_stream.stream.dead_letters.letters import (
    REPLAYED_TYPE,
    Letter,
    LetterFilter,
    LetterId,
    read_letters,
)
from ader_stream.stream.dead_letters.originals import changed_letter, whole_letter
from ader_stream.stream.kafka.clients import MAX_RESPONSE_BYTES, KafkaClients
from ader_stream.stream.kafka.producing import is_fatal, produce
from ader_stream.stream.kafka.rights import Right, authorization_error_or
from ader_stream.stream.topics.topics import Topics, check_topics, topic_id
from ader_stream.stream.transactions.producer import TransactionalProducer, sole_producer
from ader_stream.types import Click

BATCH_LETTERS = 500
BATCH_BYTES = 8 * 2**20
"""Most letters and bytes of one transaction: it must end before the broker aborts it."""

_DECIDED_BY_DECODER = frozenset(
    {"malformed", "missing-field", "bad-value", "unknown-schema", "too-large"}
)
"""Reasons that depend only on the letter's bytes and the settings. The others depend on the clicks
before; such letters are sent only if the user names the reason."""


@dataclass
class ReplayReport:
    """Result of a replay.

    Parameters
    ----------
    sent
        Number of letters sent back.
    refused
        Reason → letters that would be refused again, and are left.
    skipped
        Reason → letters left because their reason was not named.
    gone
        Truncated letters left because their originals are no longer in the clicks topic.
    erased
        Letters left because their keys were to be erased after they were written.
    ignored
        Reason → letters left because they are no clicks by the settings.
    """

    sent: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    gone: int = 0
    erased: int = 0
    ignored: Counter[str] = field(default_factory=Counter)


class DeadLetterReplay:
    """Sends letters back; only one at a time for a cluster and prefix.

    Creating one fences an earlier one and aborts its open transaction. The letters that the earlier
    one has committed are in the topic, and are not sent again.

    Parameters
    ----------
    format
        How clicks are decoded now: letters that are still refused are not sent.
    changed
        Id → the fields of a letter (``key``, ``value``) that the user has corrected.
    """

    def __init__(
        self,
        clients: KafkaClients,
        topics: Topics,
        format: ClickFormat,  # noqa: A002 - the setting's own word
        changed: Mapping[LetterId, Mapping[str, bytes | None]] | None = None,
    ) -> None:
        self._clients = clients
        self._topics = topics
        self._decoder = ClickDecoder(format)
        self._keeps_timestamp = format.reads_record_time
        self._changed = changed
        self.report = ReplayReport()

    def check(self, wanted: LetterFilter) -> ReplayReport:
        """Return what `send` would do now, and do nothing."""
        self.report.sent = sum(1 for _ in self._sendable(wanted))
        return self.report

    def send(self, wanted: LetterFilter, on_batch: Callable[[ReplayReport], None]) -> ReplayReport:
        """Send every selected letter that was not sent back and is a click now.

        Raises
        ------
        FencedError
            If another replay has started since.
        AuthorizationError
            If the user has no right to the transactional id of a replay.
        AderError
            If a transaction fails; committed letters remain sent, and are not sent again.
        """
        with replay_producer(self._clients, self._topics) as producer:
            for batch in _batches(self._sendable(wanted)):
                producer.transact(partial(self._produce, batch))
                self.report.sent += len(batch)
                on_batch(self.report)
        return self.report

    def _produce(self, batch: Sequence[Letter], client: Producer) -> None:
        for letter in batch:
            self._produce_click(client, letter)
        produce_marks(client, self._topics, batch)

    def _sendable(self, wanted: LetterFilter) -> Iterator[Letter]:
        """Yield the letters that are clicks or heartbeats now; count the others."""
        check_topics(self._clients.admin(), self._topics)
        self._erasures = read_erasures(self._clients, self._topics)
        self._clicks_id = topic_id(self._clients.admin(), self._topics.clicks)
        for found in read_letters(self._clients, self._topics, replace(wanted, replayed=False)):
            if self._changed is not None and found.id not in self._changed:
                continue
            if found.reason not in _DECIDED_BY_DECODER and found.reason not in wanted.reasons:
                self.report.skipped[found.reason] += 1
                continue
            letter = whole_letter(self._clients, self._topics, found)
            if letter and self._changed is not None:
                letter = changed_letter(letter, found, self._changed[found.id])
            if letter is None:
                self.report.gone += 1
            elif self._is_sendable(letter):
                yield letter

    def _is_sendable(self, letter: Letter) -> bool:
        """Return whether a letter is a click or a heartbeat for the sessionizer."""
        try:
            if letter.value() is None and decode_heartbeat(letter.headers()) is not None:
                return True
            clicks = self._decoder.clicks_of(letter)
        except ClickError as error:
            self.report.refused[error.reason] += 1
            return False
        except IgnoredError as error:
            self.report.ignored[error.reason] += 1
            return False
        is_erased = any(self._is_erased(letter, click) for click in clicks)
        self.report.erased += is_erased
        return not is_erased

    def _is_erased(self, letter: Letter, click: Click) -> bool:
        """Return whether a request covers a click at its old offset; it would not at a new one."""
        erasure = self._erasures.of(click.key)
        if erasure is None:
            return False
        if erasure.is_by_time:
            return click.time <= erasure.at
        clicks_id = self._clicks_id if letter.topic() == self._topics.clicks else ""
        return letter.offset() < erasure.end_of(letter.partition(), clicks_id)

    def _produce_click(self, producer: Producer, letter: Letter) -> None:
        """Write the original to its own partition.

        Its timestamp is kept only if the event time is read from it: retention depends on the
        timestamp, and a record with an old one might be deleted before it is read.
        """
        produce(
            producer,
            self._topics.clicks,
            letter.key(),
            letter.value(),
            letter.headers(),
            letter.partition(),
            timestamp=max(0, letter.timestamp()[1]) if self._keeps_timestamp else 0,
        )


def replay_producer(
    clients: KafkaClients, topics: Topics
) -> AbstractContextManager[TransactionalProducer]:
    """Return the producer of replays, for a `with` statement; any earlier one is fenced.

    Raises
    ------
    AuthorizationError
        If the user may not write in its name.
    FencedError
        If another replay has started since.
    AderError
        If a transaction fails.
    """
    name = f"{topics.group('dead-letters')}.replay"

    def failure(exception: KafkaException) -> Exception:
        right = Right("TransactionalId", name, ("Write",))
        return authorization_error_or(exception, right, _commit_failure(exception.args[0]))

    client = clients.producer(name, message_max_bytes=MAX_RESPONSE_BYTES)
    return sole_producer(client, failure)


def produce_marks(producer: Producer, topics: Topics, letters: Iterable[Letter]) -> None:
    """Write, in an open transaction, that letters are not to be sent back any more."""
    by_partition: defaultdict[int, list[int]] = defaultdict(list)
    for letter in letters:
        by_partition[letter.id.partition].append(letter.id.offset)
    for partition, offsets in by_partition.items():
        value, headers = encode(REPLAYED_TYPE, {"offsets": offsets})
        produce(producer, topics.dead_letters, None, value, headers, partition)


def _batches(letters: Iterable[Letter]) -> Iterator[list[Letter]]:
    batch: list[Letter] = []
    size = 0
    for letter in letters:
        batch.append(letter)
        size += len(letter.value() or b"")
        if len(batch) == BATCH_LETTERS or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _commit_failure(error: KafkaError) -> AderError:
    if is_fatal(error):
        return FencedError("another replay of dead letters has started; this one has stopped")
    return AderError(
        f"a transaction failed ({error.str()}); letters sent before it remain sent: run it again, "
        "and nothing is sent twice"
    )
