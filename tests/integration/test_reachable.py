"""A broker that does not answer: each reason is told from the others, on real listeners."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from ader_stream.errors import UnreachableError
from ader_stream.local_kafka.ports import HOST, free_port
from ader_stream.stream.kafka.clients import KafkaClients
from tests.integration.secured import SecuredKafka, sasl
from tests.integration.system import System

Properties = Mapping[str, str]


def trusting(secured: SecuredKafka, authority: str = "authority") -> dict[str, str]:
    """Return the properties of a client that trusts an authority."""
    location = secured.folder / f"{authority}.pem"
    return {"security.protocol": "SSL", "ssl.ca.location": str(location)}


def presenting(secured: SecuredKafka) -> dict[str, str]:
    """Return the properties of a client that shows its certificate."""
    certificate = {f"ssl.{kind}.location": str(secured.folder / f"client.{end}")
                   for kind, end in (("certificate", "pem"), ("key", "key"))}  # fmt: skip
    return trusting(secured) | certificate


def refusal(address: str, properties: Properties, timeout: float = 2.0) -> str:
    with pytest.raises(UnreachableError) as raised:
        KafkaClients(address, properties).check_reachable(timeout)
    return str(raised.value)


@pytest.mark.parametrize(
    ("listener", "properties"),
    [
        ("PLAIN", lambda _: {}),
        ("SASL", lambda _: sasl()),
        ("TLS", trusting),
        ("MUTUAL", presenting),
        ("SASLTLS", lambda secured: trusting(secured) | sasl(tls=True)),
    ],
)
def test_who_comes_as_the_listener_asks_is_answered(
    secured: SecuredKafka, listener: str, properties: Callable[[SecuredKafka], Properties]
) -> None:
    KafkaClients(secured.listeners[listener], properties(secured)).check_reachable()


@pytest.mark.parametrize(
    ("listener", "properties", "cause", "remedy"),
    [
        ("SASL", sasl(password="wrong"), "does not know the user ader with this", "sasl.password"),
        ("SASL", sasl(password="x") | {"sasl.username": "who"}, "the user who", "sasl.username"),
        ("SASL", sasl() | {"sasl.mechanism": "SCRAM-SHA-512"}, "SCRAM-SHA-512, it supports PLAIN",
         "sasl.mechanism"),
        ("SASL", {}, "does not authenticate", "security.protocol=SASL_PLAINTEXT"),
        ("PLAIN", sasl(), "does not support SASL", "security.protocol=PLAINTEXT"),
        ("PLAIN", {"security.protocol": "SSL"}, "the client uses TLS (security.protocol=SSL)",
         "security.protocol=PLAINTEXT"),
        ("SASL", sasl(tls=True), "the client uses TLS (security.protocol=SASL_SSL)",
         "security.protocol=SASL_PLAINTEXT"),
        ("TLS", {}, "the listener uses TLS", "security.protocol=SSL"),
        ("SASLTLS", sasl(), "the listener uses TLS", "security.protocol=SASL_SSL"),
    ],
)  # fmt: skip
def test_who_comes_otherwise_is_shown_how_to_come(
    secured: SecuredKafka, listener: str, properties: Properties, cause: str, remedy: str
) -> None:
    said = refusal(secured.listeners[listener], properties)

    assert cause in said
    assert remedy in said
    assert secured.listeners[listener] in said


@pytest.mark.parametrize(
    ("listener", "properties", "cause", "remedy"),
    [
        ("TLS", lambda s: trusting(s, "stranger"), "not trusted: ", "ssl.ca.location"),
        ("TLS", lambda _: {"security.protocol": "SSL"}, "not trusted: ", "ssl.ca.location"),
        ("MUTUAL", trusting, "wants a certificate of the client", "ssl.certificate.location"),
        ("SASLTLS", trusting, "does not authenticate", "security.protocol=SASL_SSL"),
        ("TLS", lambda s: trusting(s) | sasl(tls=True), "support SASL", "security.protocol=SSL"),
    ],
)
def test_what_is_wrong_with_certificates_is_reported(
    secured: SecuredKafka,
    listener: str,
    properties: Callable[[SecuredKafka], Properties],
    cause: str,
    remedy: str,
) -> None:
    said = refusal(secured.listeners[listener], properties(secured))

    assert cause in said
    assert remedy in said


def test_a_host_that_the_certificate_does_not_name_is_distinguished_from_an_unknown_authority(
    secured: SecuredKafka,
) -> None:
    named = secured.listeners["TLS"].replace(HOST, "localhost")

    assert "not valid for 'localhost'" in refusal(named, trusting(secured))


@contextmanager
def answering(answer: bytes) -> Iterator[str]:
    """Something that is no Kafka: answers a request with these bytes, and closes the connection."""
    with socket.create_server((HOST, 0)) as server:

        def serve() -> None:
            with suppress(OSError):  # the server is closed
                while True:
                    connection, _ = server.accept()
                    with connection:
                        connection.recv(1024)
                        connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield f"{HOST}:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "the server there is not Kafka"),
        (b"", "the server may not be Kafka"),
    ],
)
def test_what_is_no_kafka_is_distinguished_from_one(answer: bytes, cause: str) -> None:
    with answering(answer) as address:
        assert cause in refusal(address, {})


def test_a_closed_port_an_unknown_host_and_silence_are_distinguished() -> None:
    closed, unknown = f"{HOST}:{free_port()}", "no-such-host.invalid:9092"

    assert "nothing listens on this port" in refusal(closed, {}, timeout=1.0)
    assert "the host name is unknown" in refusal(unknown, {}, timeout=1.0)
    with socket.create_server((HOST, 0)) as silent:
        address = f"{HOST}:{silent.getsockname()[1]}"
        assert "nothing answers" in refusal(address, {}, timeout=1.0)


def test_of_several_brokers_one_that_answers_is_enough(secured: SecuredKafka) -> None:
    address = f"{HOST}:{free_port()},{secured.listeners['PLAIN']}"

    KafkaClients(address).check_reachable()


def test_of_several_brokers_the_most_telling_refusal_is_reported(secured: SecuredKafka) -> None:
    address = f"{HOST}:{free_port()},{secured.listeners['SASL']}"

    assert "does not know the user ader" in refusal(address, sasl(password="wrong"))


def test_a_broker_that_is_still_starting_is_waited_for(secured: SecuredKafka) -> None:
    port = free_port()
    host, _, there = secured.listeners["PLAIN"].partition(":")
    client = KafkaClients(f"{HOST}:{port}")
    forwarding = threading.Timer(1.0, _forward_once, [port, (host, int(there))])
    forwarding.start()

    client.check_reachable()
    forwarding.join()


def _forward_once(port: int, target: tuple[str, int]) -> None:
    with socket.create_server((HOST, port)) as server:
        near, _ = server.accept()
    with near, socket.create_connection(target) as far:
        there = threading.Thread(target=_pump, args=(near, far))
        there.start()
        _pump(far, near)
        there.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    while data := source.recv(65536):
        sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


def test_every_worker_and_command_says_so_in_one_line_and_ends_within_seconds(
    secured: SecuredKafka, tmp_path: Path
) -> None:
    wrong = {
        "bootstrap_servers": secured.listeners["SASL"],
        "librdkafka": sasl(password="wrong"),
    }
    with System(secured.bootstrap_servers, tmp_path) as system:
        started_at = time.monotonic()
        done = [
            system.command(*arguments, kafka=wrong)
            for arguments in (("doctor",), ("sessions", "dump"), ("run", "sessionizer"))
        ]
        assert time.monotonic() - started_at < 60  # a hang would be the harness's 90 s each
    for command in done:
        [line] = (command.stdout + command.stderr).splitlines()
        assert "does not know the user ader with this password" in line
