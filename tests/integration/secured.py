"""A real Kafka that asks who comes, and lets nobody do what no rule allows.

Its plain listener is the administrator's; users sign in at the others.
"""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from ader_stream.local_kafka import Guard, java
from ader_stream.local_kafka.ports import HOST, free_port
from ader_stream.local_kafka.record import StartOptions
from tests.integration.certificates import authority, signed_by

USERS = ("ader", "sessionizer", "trainer", "inference", "monitor", "operator")
PASSWORDS = {user: f"{user}-secret" for user in USERS}

WAIT_SECONDS = 30.0

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

    def kafka_of(self, user: str) -> dict[str, Any]:
        """Return the settings ``kafka.*`` of a user that signs in."""
        return {"bootstrap_servers": self.listeners["SASL"], "librdkafka": sasl(user)}

    def grant(self, commands: Iterable[str]) -> None:
        """Do what lines of ``ader-stream rights --kafka-acls`` say; comments say nothing."""
        rules = [rule for line in commands for rule in _rules_of(line)]
        for future in self._admin.create_acls(rules).values() if rules else ():
            future.result(WAIT_SECONDS)

    def revoke(self, commands: Iterable[str]) -> None:
        """Take that back."""
        rules = [rule for line in commands for rule in _rules_of(line)]
        filters = [_filter_of(rule) for rule in rules]
        for future in self._admin.delete_acls(filters).values() if filters else ():
            assert future.result(WAIT_SECONDS), "there was no such rule"

    @cached_property
    def _admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.bootstrap_servers})


def sasl(user: str = "ader", password: str | None = None, *, tls: bool = False) -> dict[str, str]:
    """Return librdkafka's properties of a user that signs in."""
    return {
        "security.protocol": "SASL_SSL" if tls else "SASL_PLAINTEXT",
        "sasl.mechanism": "PLAIN",
        "sasl.username": user,
        "sasl.password": PASSWORDS[user] if password is None else password,
    }


class _Line(argparse.ArgumentParser):
    """The options of ``kafka-acls`` that we print."""

    def __init__(self) -> None:
        super().__init__(exit_on_error=False)
        self.add_argument("--bootstrap-server", required=True)
        self.add_argument("--add", action="store_true", required=True)
        self.add_argument("--allow-principal", required=True)
        self.add_argument("--operation", action="append", required=True)
        kinds = self.add_mutually_exclusive_group(required=True)
        for kind in ("topic", "group", "transactional-id"):
            kinds.add_argument(f"--{kind}")
        kinds.add_argument("--cluster", action="store_true")
        self.add_argument("--resource-pattern-type", choices=["prefixed"])


def _rules_of(line: str) -> list[AclBinding]:
    program, *words = shlex.split(line, comments=True) or [""]
    if not program:
        return []
    assert program == "kafka-acls"
    said = _Line().parse_args(words)
    kind, name = next(
        (kind, name)
        for kind, name in (
            (ResourceType.TOPIC, said.topic),
            (ResourceType.GROUP, said.group),
            (ResourceType.TRANSACTIONAL_ID, said.transactional_id),
            (ResourceType.BROKER, "kafka-cluster"),
        )
        if name
    )
    is_prefix = said.resource_pattern_type == "prefixed"
    pattern = ResourcePatternType.PREFIXED if is_prefix else ResourcePatternType.LITERAL
    return [
        AclBinding(
            kind,
            name,
            pattern,
            said.allow_principal,
            "*",
            AclOperation[_as_constant(operation)],
            AclPermissionType.ALLOW,
        )
        for operation in said.operation
    ]


def _filter_of(rule: AclBinding) -> AclBindingFilter:
    return AclBindingFilter(
        rule.restype,
        rule.name,
        rule.resource_pattern_type,
        rule.principal,
        rule.host,
        rule.operation,
        rule.permission_type,
    )


def _as_constant(operation: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", operation).upper()


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
