"""A real Kafka that asks who comes, and lets nobody do what no rule allows.

Its plain listener is the administrator's; users sign in at the others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ader_stream.local_kafka import Guard, java
from ader_stream.local_kafka.ports import HOST, free_port
from ader_stream.local_kafka.record import StartOptions
from tests.integration.certificates import authority, signed_by

PASSWORDS = {"ader": "ader-secret", "operator": "operator-secret"}

LISTENERS = {
    "PLAIN": "PLAINTEXT",
    "SASL": "SASL_PLAINTEXT",
    "TLS": "SSL",
    "MUTUAL": "SSL",
    "SASLTLS": "SASL_SSL",
}
"""Name → protocol; MUTUAL wants a certificate of the client."""


@dataclass(frozen=True)
class SecuredKafka:
    """Where the broker listens, and what its users need.

    Parameters
    ----------
    listeners
        Name of a listener → host:port.
    folder
        Of the certificates: ``authority.pem``, ``stranger.pem`` (another authority),
        ``client.pem`` and ``client.key``.
    """

    listeners: Mapping[str, str]
    folder: Path

    @property
    def bootstrap_servers(self) -> str:
        """Address of the administrator's listener."""
        return self.listeners["PLAIN"]


def sasl(user: str = "ader", password: str | None = None, *, tls: bool = False) -> dict[str, str]:
    """Return librdkafka's properties of a user that signs in."""
    return {
        "security.protocol": "SASL_SSL" if tls else "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": user,
        "sasl.password": PASSWORDS[user] if password is None else password,
    }


@contextmanager
def secured_kafka(folder: Path, cache: Path, guard: Guard) -> Iterator[SecuredKafka]:
    """Start the broker, and stop it in the end."""
    ports = {name: free_port() for name in LISTENERS}
    listeners = {name: f"{HOST}:{port}" for name, port in ports.items()}
    properties = _listening(listeners) | _asking(folder)
    data = folder / "broker"
    data.mkdir()
    options = StartOptions(data, ports["PLAIN"], "", cache, properties=properties)
    kafka = java.start(options, guard)
    yield SecuredKafka(listeners, folder)
    java.stop(kafka)


def _listening(listeners: Mapping[str, str]) -> dict[str, str]:
    controller = f"{HOST}:{free_port()}"
    addresses = ",".join(f"{name}://{address}" for name, address in listeners.items())
    protocols = ",".join(f"{name}:{protocol}" for name, protocol in LISTENERS.items())
    return {
        "controller.quorum.voters": f"1@{controller}",
        "listeners": f"{addresses},CONTROLLER://{controller}",
        "advertised.listeners": addresses,
        "listener.security.protocol.map": f"{protocols},CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "PLAIN",
    }


def _asking(folder: Path) -> dict[str, str]:
    ours, stranger = authority("authority"), authority("stranger")
    broker = signed_by(ours, "broker")
    trusted, _ = ours.write(folder, "authority")
    stranger.write(folder, "stranger")
    signed_by(ours, "client").write(folder, "client")
    keystore = folder / "broker.pem"
    keystore.write_bytes(broker.key_pem + broker.certificate_pem)
    users = " ".join(f'user_{user}="{word}"' for user, word in PASSWORDS.items())
    jaas = f"org.apache.kafka.common.security.plain.PlainLoginModule required {users};"
    return {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.sasl.plain.sasl.jaas.config": jaas,
        "listener.name.sasltls.plain.sasl.jaas.config": jaas,
        "listener.name.mutual.ssl.client.auth": "required",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(keystore),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(trusted),
    }
