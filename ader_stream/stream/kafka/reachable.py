"""Check whether a broker answers; if none does, find the likely cause and its remedy."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from ader_stream.errors import UnreachableError
from ader_stream.stream.kafka.handshake import certificate_complaint, speaks_tls

ASK_SECONDS = 1.0
"""Seconds that one request may take: the client's messages are checked after each."""

PAUSE_SECONDS = 0.1

LASTING_SECONDS = 3.0
"""A refusal repeated for so long is caused by the settings, not by a broker that starts."""

OBSERVED = {"log_level": 6, "log.connection.close": True}
"""A disconnection is only in the client's log; its state there distinguishes a missing TLS from a
missing SASL."""

Properties = Mapping[str, object]
MakeAdmin = Callable[[Properties, logging.Logger, Callable[[KafkaError], None]], AdminClient]


@dataclass(frozen=True)
class Symptom:
    """A client's message about a broker that does not answer, and its meaning.

    Parameters
    ----------
    pattern
        Regular expression.
    cause, remedy
        The cause, and what to do; with fields of `_Attempt` and groups of the pattern.
    passes
        A starting broker looks the same, so the whole time-out is used.
    """

    pattern: str
    cause: str
    remedy: str
    passes: bool = False


SYMPTOMS = (
    Symptom(
        r"Unsupported SASL mechanism: broker's supported mechanisms: (?P<known>[^(]*[^( ])",
        "the broker does not support the SASL mechanism {at.mechanism}, it supports {known}",
        "set sasl.mechanism in kafka.librdkafka to one of these",
    ),
    Symptom(
        r"not valid in current SASL state",
        "the listener does not support SASL",
        "set security.protocol={at.without_sasl} in kafka.librdkafka, or take the port of another "
        "listener",
    ),
    Symptom(
        r"SASL authentication error|Authentication failed",
        "the broker does not know the user {at.user} with this password",
        "check sasl.username and sasl.password in kafka.librdkafka",
    ),
    Symptom(
        r"certificate verify failed",
        "the broker's certificate is not trusted: {at.complaint}",
        "name the certificate of its authority in kafka.librdkafka's ssl.ca.location, and in "
        "kafka.bootstrap_servers a host that the certificate names",
    ),
    Symptom(
        r"alert (bad certificate|certificate required|certificate unknown|unknown ca)",
        "the broker wants a certificate of the client that it trusts",
        "name one in kafka.librdkafka's ssl.certificate.location, and its key in ssl.key.location",
    ),
    Symptom(
        r"connecting to a PLAINTEXT broker listener|wrong version number|record layer failure",
        "the client uses TLS (security.protocol={at.protocol}), the listener does not",
        "set security.protocol={at.without_tls} in kafka.librdkafka, or take the port of another "
        "listener",
    ),
    Symptom(
        r"Disconnected.*state APIVERSION_QUERY",
        "{at.closed}",
        "{at.closed_remedy}",
    ),
    Symptom(
        r"Disconnected.*state UP",
        "the listener closes the connection of a client that does not authenticate",
        "set security.protocol={at.with_sasl}, sasl.mechanism, sasl.username and sasl.password in "
        "kafka.librdkafka",
    ),
    Symptom(
        r"Invalid response size",
        "the server there is not Kafka",
        "check host and port",
    ),
    Symptom(
        r"Failed to resolve",
        "the host name is unknown",
        "check kafka.bootstrap_servers, and the name service",
        passes=True,
    ),
    Symptom(
        r"Connection refused",
        "nothing listens on this port",
        "check the port, or start a broker with `ader-stream broker up`",
        passes=True,
    ),
    Symptom(
        r"ApiVersionRequest failed: Local: Timed out",
        "a server accepts connections but does not answer",
        "check the port; a frozen broker does not answer either",
        passes=True,
    ),
    Symptom(
        r"(?P<how>No route to host|Network is unreachable|timed out|Connection reset)",
        "no connection is possible ({how})",
        "check address, routes and firewalls",
        passes=True,
    ),
    Symptom(
        r"(?P<how>.+)",
        "{how}",
        "check kafka.bootstrap_servers and security.protocol",
        passes=True,
    ),
)
"""The most specific first: one of several brokers may also be down."""

SILENT = Symptom(
    r"", "nothing answers", "check the address; a frozen broker does not answer either", True
)


def wait_until_reachable(make_admin: MakeAdmin, properties: Properties, timeout: float) -> None:
    """Return when a broker of the cluster answers.

    For a cause that does not end by itself, such as a wrong password, it waits `LASTING_SECONDS`
    only.

    Parameters
    ----------
    make_admin
        Makes a client that writes its log to a logger and passes its errors to a function.
    properties
        Properties of the client.
    timeout
        Seconds.

    Raises
    ------
    UnreachableError
        If none answers; names the cause and the remedy.
    """
    said = _Said()
    client = make_admin({**properties, **OBSERVED}, said.logger, said.note_error)
    began_at = time.monotonic()
    while not _answers(client, began_at + timeout):
        waited = time.monotonic() - began_at
        symptom, text = _most_specific(said.texts)
        if waited >= (timeout if symptom.passes else min(timeout, LASTING_SECONDS)):
            raise UnreachableError(_explain(symptom, text, properties))
        time.sleep(PAUSE_SECONDS)


def _answers(client: AdminClient, until: float) -> bool:
    left = max(PAUSE_SECONDS, until - time.monotonic())
    try:
        client.list_topics(timeout=min(ASK_SECONDS, left))
    except KafkaException:
        client.poll(0)  # delivers the client's messages
        return False
    return True


class _Said(logging.Handler):
    """A client's messages about its brokers, each text once."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: dict[str, None] = {}
        self.logger = logging.Logger("rdkafka")
        self.logger.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        facility, _, text = record.getMessage().partition(" ")
        if facility == "FAIL":
            self.texts[text.partition("]: ")[2]] = None

    def note_error(self, error: KafkaError) -> None:
        if error.code() != KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - gives no cause
            self.texts[error.str()] = None


def _most_specific(texts: Iterable[str]) -> tuple[Symptom, str]:
    found = (
        (symptom, text)
        for symptom in SYMPTOMS
        for text in texts
        if re.search(symptom.pattern, text)
    )
    return next(found, (SILENT, ""))


def _explain(symptom: Symptom, text: str, properties: Properties) -> str:
    match = re.search(symptom.pattern, text)
    groups = match.groupdict() if match else {}
    at = _Attempt(text.partition("/bootstrap")[0].rpartition("/")[2], properties)
    cause, remedy = (part.format(at=at, **groups) for part in (symptom.cause, symptom.remedy))
    said = f" ({text})" if text and text not in cause else ""
    servers = properties["bootstrap.servers"]
    return f"no Kafka answers at {servers}: {cause}; {remedy}{said}"


@dataclass(frozen=True)
class _Attempt:
    """The attempt, and the result of a TLS handshake, which is made when it is needed."""

    server: str
    properties: Properties

    @property
    def protocol(self) -> str:
        return str(self.properties.get("security.protocol", "PLAINTEXT")).upper()

    @property
    def mechanism(self) -> str:
        either = self.properties.get("sasl.mechanisms", "GSSAPI")
        return str(self.properties.get("sasl.mechanism", either))

    @property
    def user(self) -> str:
        return str(self.properties.get("sasl.username", "(none)"))

    @property
    def without_sasl(self) -> str:
        return self.protocol.removeprefix("SASL_")

    @property
    def with_sasl(self) -> str:
        return f"SASL_{self.without_sasl}"

    @property
    def with_tls(self) -> str:
        return self.protocol.replace("PLAINTEXT", "SSL")

    @property
    def without_tls(self) -> str:
        return self.protocol.replace("SSL", "PLAINTEXT")

    @property
    def lacks_tls(self) -> bool:
        return self.protocol != self.with_tls and speaks_tls(self.server)

    @property
    def closed(self) -> str:
        if self.lacks_tls:
            return f"the listener uses TLS, the client (security.protocol={self.protocol}) does not"
        return "the connection is closed at the first request; the server may not be Kafka"

    @property
    def closed_remedy(self) -> str:
        if self.lacks_tls:
            return f"set security.protocol={self.with_tls} in kafka.librdkafka"
        return "check host and port"

    @property
    def complaint(self) -> str:
        return certificate_complaint(self.server, self.properties).removesuffix(".")
