"""Check the connection and the broker's limits."""

from __future__ import annotations

from collections.abc import Iterator

from ader_stream.stream.diagnosis.finding import Finding
from ader_stream.stream.diagnosis.subject import DiagnosisInput


def check_connection(subject: DiagnosisInput) -> Iterator[Finding]:
    """Check whether a broker answers."""
    subject.clients.check_reachable()
    yield Finding("ok", f"a broker answers at {subject.clients.bootstrap_servers}")


def check_limits(subject: DiagnosisInput) -> Iterator[Finding]:
    """Compare the time-outs with the broker's limits."""
    yield _transaction_timeout(subject)
    yield _group_protocol(subject)


def _transaction_timeout(subject: DiagnosisInput) -> Finding:
    timeout = subject.clients.transaction_timeout
    limit = int(subject.broker_config().get("transaction.max.timeout.ms", timeout))
    if timeout <= limit:
        return Finding("ok", f"transaction timeout {timeout} ms, the broker allows {limit} ms")
    return Finding(
        "error",
        f"kafka.transaction_timeout = {timeout} ms, the broker allows {limit} ms",
        "lower it, or raise transaction.max.timeout.ms of the brokers",
    )


def _group_protocol(subject: DiagnosisInput) -> Finding:
    clients = subject.clients
    if clients.group_protocol == "classic":
        text = f"classic group protocol, session timeout {clients.session_timeout} ms"
        return Finding("ok", text)
    timeout = subject.broker_config().get("group.consumer.session.timeout.ms", "unknown")
    return Finding("ok", f"consumer group protocol, the broker's session timeout is {timeout} ms")
