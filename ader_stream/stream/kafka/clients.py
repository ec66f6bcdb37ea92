"""Kafka clients with the properties that this system relies on."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import Any, TypeVar

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from ader_stream.errors import ClientError, SettingsError
from ader_stream.stream.kafka.reachable import wait_until_reachable

log = structlog.get_logger(__name__)
T = TypeVar("T")

FETCH_BACKOFF_MS = 5
"""librdkafka's default of 1 s makes a reader that empties its queue stall tenfold."""

MAX_RECORD_BYTES = 4 * 2**20
"""Largest record: a dead letter holds a whole record of the user's, a long session is one."""

BATCH_BYTES = 1_000_000
"""What a producer sends at once to a partition: librdkafka's default."""

MAX_RESPONSE_BYTES = 2**27
"""What a consumer takes at once: above the largest request that a broker takes by default
(`socket.request.max.bytes`, 100 MiB), so that no record that could be written stops its reader."""

RESPONSE_FRAMING = 512
"""What librdkafka wants a response to have room for beside what is fetched."""

READ_MESSAGES = 10_000
"""Records that one `consume` call asks for: a list costs far less than as many polls."""

READ_AHEAD_KIB = 64 * 1024
"""What a client fetches before it is asked for: librdkafka's default."""

UNANSWERED = (
    "Kafka: a broker answers, but not this request (a dead coordinator or controller, or an "
    "overloaded one); look at the brokers' logs, and try again"
)
"""What is said where a request was waited for in vain."""


STATISTICS_SECONDS = {"consumer": 10, "producer": 60}
"""Seconds between two statistics of a client of each kind. A worker has a producer for each
partition, and to read the statistics of one takes 0.5 ms and more."""

RELIED_ON = {
    "acks": "all",
    "request.required.acks": "all",
    "enable.idempotence": "true",
    "enable.auto.commit": "false",
    "enable.auto.offset.store": "false",
    "enable.partition.eof": "true",
    "auto.offset.reset": "error",
}
"""Properties by which nothing is lost and nothing comes twice: no setting changes them."""

SAME = {"-1": "all", "1": "true", "0": "false", "t": "true", "f": "false"}
"""Other ways to write these values."""

OWN = ("group.id", "group.protocol", "transactional.id", "isolation.level")
"""Properties that each client has of its own, by what it is for."""


def _raises_its_own_error(method: Callable[..., T]) -> Callable[..., T]:
    """Let a method that serves callbacks raise the client's error, whichever callback came next.

    The client sets a fatal error as an exception and may call a callback after that. CPython then
    raises a SystemError, of which that exception is the cause.
    """

    @wraps(method)
    def called(*arguments: Any, **named: Any) -> T:
        try:
            return method(*arguments, **named)
        except SystemError as error:
            if isinstance(error.__cause__, KafkaException):
                raise error.__cause__ from None
            raise

    return called


class _Producer(Producer):
    poll = _raises_its_own_error(Producer.poll)
    flush = _raises_its_own_error(Producer.flush)
    purge = _raises_its_own_error(Producer.purge)
    send_offsets_to_transaction = _raises_its_own_error(Producer.send_offsets_to_transaction)
    commit_transaction = _raises_its_own_error(Producer.commit_transaction)
    abort_transaction = _raises_its_own_error(Producer.abort_transaction)


class _Consumer(Consumer):
    consume = _raises_its_own_error(Consumer.consume)
    close = _raises_its_own_error(Consumer.close)


@dataclass(frozen=True)
class KafkaClients:
    """Makes consumers and producers for one cluster.

    Parameters
    ----------
    bootstrap_servers
        host:port, several parted by commas.
    properties
        Any librdkafka properties but `RELIED_ON` and `OWN`; they win over the defaults here.
    group_protocol
        ``classic`` or ``consumer`` (KIP-848).
    session_timeout
        ms after which a silent group member is given up (classic protocol).
    transaction_timeout
        ms after which the broker aborts a transaction left open.
    reader_group
        Group that a reader names, for it must name one: it asks which broker coordinates that
        group, and never joins. A worker's own, which it may ask for; others read without a right
        to it, too.
    batch_bytes
        What producers send at once to a partition, at most.
    on_statistics
        Takes the statistics (JSON) of group consumers and transactional producers; None: none.
    """

    bootstrap_servers: str
    properties: Mapping[str, str] = field(default_factory=dict)
    group_protocol: str = "classic"
    session_timeout: int = 6_000
    transaction_timeout: int = 10_000
    reader_group: str = "ader.reader"
    batch_bytes: int = BATCH_BYTES
    on_statistics: Callable[[str], None] | None = None

    def __post_init__(self) -> None:
        """Refuse properties that would have records lost or taken twice, or clients mistaken.

        Raises
        ------
        SettingsError
            If there is one.
        """
        for name, value in self.properties.items():
            relied_on = RELIED_ON.get(name)
            written = str(value).lower()
            if relied_on and SAME.get(written, written) != relied_on:
                raise SettingsError(
                    f"kafka.librdkafka: {name} = {value}; expected {relied_on}, without which "
                    "clicks could be lost or counted twice: leave it out"
                )
            if name in OWN:
                raise SettingsError(
                    f"kafka.librdkafka: {name} = {value}; expected none, for each client has its "
                    "own: leave it out; names follow kafka.prefix, see also kafka.group_protocol"
                )

    @property
    def max_record_bytes(self) -> int:
        """The largest record that producers take, key and headers included."""
        return int(self.properties.get("message.max.bytes", MAX_RECORD_BYTES))

    def observed(self, on_statistics: Callable[[str], None]) -> KafkaClients:
        """Return the same factory, whose clients report statistics.

        Its clients must be polled: what they report is kept until then.
        """
        return replace(self, on_statistics=on_statistics)

    def group_consumer(self, group: str) -> Consumer:
        """Consumer that is given partitions by its group and starts at given offsets.

        It says `_PARTITION_EOF` where the log ends for now.
        """
        return self._consumer(
            {"group.id": group, "enable.partition.eof": True}
            | self._group_properties()
            | self._statistics("consumer")
        )

    def reader(self, *, committed: bool = True, ahead_kib: int = READ_AHEAD_KIB) -> Consumer:
        """Consumer without a group: the caller assigns partitions and offsets.

        It says `_PARTITION_EOF` where the log ends for now, and holds some `ahead_kib` that were
        not asked for yet.
        """
        isolation = "read_committed" if committed else "read_uncommitted"
        return self._consumer(
            {
                "group.id": self.reader_group,
                "isolation.level": isolation,
                "enable.partition.eof": True,
                "queued.max.messages.kbytes": ahead_kib,
            }
        )

    def producer(
        self,
        transactional_id: str | None = None,
        logger: logging.Logger | None = None,
        **properties: object,
    ) -> Producer:
        """Idempotent producer, transactional where an id is given; `logger` takes its log."""
        transactional = transactional_id and {
            "transactional.id": transactional_id,
            "transaction.timeout.ms": self.transaction_timeout,
            **self._statistics("producer"),
        }
        return _make(
            _Producer,
            self._common()
            | {"enable.idempotence": True, "acks": "all", "linger.ms": 5, "compression.type": "lz4"}
            | {"message.max.bytes": MAX_RECORD_BYTES, "batch.size": self.batch_bytes}
            | (transactional or {})
            | {name.replace("_", "."): value for name, value in properties.items()}
            | dict(self.properties),
            **({"logger": logger} if logger else {}),
        )

    def admin(self) -> AdminClient:
        """Client for topics and offsets."""
        return _make(AdminClient, self._common() | dict(self.properties))

    def check_reachable(self, timeout: float = 10.0) -> None:
        """Return once a broker answers.

        Raises
        ------
        UnreachableError
            If none does within `timeout` seconds; says why, as far as that is known.
        """
        wait_until_reachable(_observed_admin, self._common() | dict(self.properties), timeout)

    def _common(self) -> dict[str, object]:
        return {
            "bootstrap.servers": self.bootstrap_servers,
            "error_cb": _log_error,
            "log_level": 2,  # errors come through error_cb and exceptions already
            "topic.metadata.refresh.interval.ms": 30_000,
            "reconnect.backoff.ms": 250,
            "reconnect.backoff.max.ms": 2_000,
        }

    def _statistics(self, kind: str) -> dict[str, object]:
        if self.on_statistics is None:
            return {}
        interval = STATISTICS_SECONDS[kind] * 1000
        return {"statistics.interval.ms": interval, "stats_cb": self.on_statistics}

    def _response_bytes(self) -> int:
        """Return what a consumer takes at once; properties that ask for more of it win."""
        names = ("fetch.max.bytes", "message.max.bytes")
        asked = (int(self.properties.get(name, 0)) + RESPONSE_FRAMING for name in names)
        return max(MAX_RESPONSE_BYTES, *asked)

    def _group_properties(self) -> dict[str, object]:
        if self.group_protocol == "consumer":
            return {"group.protocol": "consumer"}
        return {
            "group.protocol": "classic",
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": self.session_timeout,
            "heartbeat.interval.ms": max(100, self.session_timeout // 3),
        }

    def _consumer(self, properties: Mapping[str, object]) -> Consumer:
        return _make(
            _Consumer,
            self._common()
            | {
                "allow.auto.create.topics": False,  # a misspelled topic is an error
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "error",
                "isolation.level": "read_committed",
                "fetch.queue.backoff.ms": FETCH_BACKOFF_MS,
                "fetch.wait.max.ms": 100,
                "fetch.error.backoff.ms": 100,
                "receive.message.max.bytes": self._response_bytes(),
            }
            | dict(properties)
            | dict(self.properties),
        )


@contextmanager
def client_errors() -> Iterator[None]:
    """Raise what Kafka's client raises as an error of ours: one line for a command or a worker.

    Raises
    ------
    ClientError
        In place of any `KafkaException`, and where the client has waited for an answer in vain.
    """
    try:
        yield
    except TimeoutError as exception:  # an admin request's future: librdkafka itself waits longer
        raise ClientError(UNANSWERED) from exception
    except KafkaException as exception:
        error = exception.args[0]
        raise ClientError(
            f"Kafka: {error.str()} ({error.name()}); look at the brokers' logs, and try again"
        ) from exception


def is_property(name: str) -> bool:
    """Whether librdkafka knows a property of this name, whatever its value.

    >>> is_property("sasl.username"), is_property("sasl.username.file")
    (True, False)
    """
    unknown = "no.such.property"  # no client is made of this
    try:
        Producer({name: "", unknown: ""})
    except KafkaException as error:
        return f'No such configuration property: "{name}"' not in error.args[0].str()
    raise AssertionError(unknown)


def close(consumer: Consumer) -> None:
    """Close a consumer; what it says on its way out is logged, for nothing depends on it any more.

    A fatal error that it had before can be raised here, and so can what a rebalance calls.
    """
    try:
        consumer.close()
    except KafkaException as exception:
        log.warning("a consumer has closed with an error", error=exception.args[0].str())


def _observed_admin(
    properties: Mapping[str, object],
    logger: logging.Logger,
    on_error: Callable[[KafkaError], None],
) -> AdminClient:
    return _make(AdminClient, {**properties, "error_cb": on_error}, logger=logger)


def _make(client: type[T], properties: Mapping[str, object], **options: object) -> T:
    try:
        return client(dict(properties), **options)  # type: ignore[call-arg]
    except KafkaException as error:
        raise SettingsError(f"kafka.librdkafka: {error.args[0].str()}") from None


class ClientErrorLog:
    """Logs the errors of this process's clients, each kind at most once in `seconds`.

    Every client tells of a broker that is away, some of them many times a second: the next line
    says how many were left out.
    """

    def __init__(self, seconds: float = 10.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._logged_at: dict[str, float] = {}
        self._left_out: Counter[str] = Counter()
        self._lock = threading.Lock()  # each client calls back in the thread that polls it

    def __call__(self, error: KafkaError) -> None:
        """Log an error, or count it."""
        code, now = error.name(), self._clock()
        with self._lock:
            if now - self._logged_at.get(code, -math.inf) < self._seconds:
                self._left_out[code] += 1
                return
            self._logged_at[code] = now
            left_out = self._left_out.pop(code, 0)
        counted = {"similar_left_out": left_out} if left_out else {}
        log.warning("kafka client", error=error.str(), code=code, **counted)


_log_error = ClientErrorLog()
