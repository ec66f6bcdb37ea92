"""Rights on a cluster, in Kafka's terms: what they are, which are missing, how to grant them."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Literal

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from ader_stream.errors import AuthorizationError
from ader_stream.stream.kafka.clients import KafkaClients

Resource = Literal["Topic", "Group", "TransactionalId", "Cluster"]

CLUSTER = "kafka-cluster"
"""Kafka's name of the one resource of the type Cluster."""

READ_CONFIGS = "DescribeConfigs"

ASK_SECONDS = 10.0
"""Seconds that one request about rights may take."""

PAUSE_SECONDS = 0.2

REFUSALS: Mapping[int, Resource] = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: "Topic",
    KafkaError.GROUP_AUTHORIZATION_FAILED: "Group",
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED: "TransactionalId",
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: "Cluster",
}
"""Code of an error → resource of the missing right."""

_PASSING = frozenset(
    {
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError._TIMED_OUT,  # noqa: SLF001
        KafkaError._TRANSPORT,  # noqa: SLF001
    }
)
"""Errors of a broker that has just started, or of a group without a coordinator yet."""

_OPTIONS = {"Topic": "topic", "Group": "group", "TransactionalId": "transactional-id"}


@dataclass(frozen=True)
class Right:
    """Operations on a resource that a worker or command needs.

    Parameters
    ----------
    resource, name, operations
        As in ``kafka-acls``; the name is a prefix if there are `instances`.
    why
        Purpose of the right.
    instances
        Names, starting with `name`, of the resources that are used.
    when
        Condition under which it is needed; empty for always.
    """

    resource: Resource
    name: str
    operations: tuple[str, ...]
    why: str = ""
    instances: tuple[str, ...] = ()
    when: str = ""

    @property
    def pattern(self) -> str:
        """Return ``literal`` or ``prefixed``."""
        return "prefixed" if self.instances else "literal"

    def __str__(self) -> str:
        """Return the right as in an error message.

        >>> str(Right("Topic", "ader.sessions", ("Read", "Write")))
        'Read and Write on Topic ader.sessions'
        """
        end = "*" if self.instances else ""
        return f"{' and '.join(self.operations)} on {self.resource} {self.name}{end}"

    def grant(self, bootstrap_servers: str, principal: str) -> str:
        """Return the command that grants it.

        >>> Right("Group", "ader.trainer", ("Read",)).grant("kafka:9092", "User:ader")
        'kafka-acls --bootstrap-server kafka:9092 --add --allow-principal User:ader \
--operation Read --group ader.trainer'
        """
        option = _OPTIONS.get(self.resource)
        where = [f"--{option}", self.name] if option else ["--cluster"]
        command = ["kafka-acls", "--bootstrap-server", bootstrap_servers, "--add"]
        command += ["--allow-principal", principal]
        command += [word for name in self.operations for word in ("--operation", name)]
        command += where + (["--resource-pattern-type", "prefixed"] if self.instances else [])
        return shlex.join(command)


@dataclass(frozen=True)
class MissingRight:
    """The missing part of a right.

    Parameters
    ----------
    right
        The right.
    operations
        Those of its operations that are refused.
    names
        The resources on which they are refused.
    """

    right: Right
    operations: tuple[str, ...]
    names: tuple[str, ...]

    def __str__(self) -> str:
        """Return operations and resources as text."""
        names = f" ({', '.join(self.names)})" if self.right.instances else ""
        return f"{self.needed}{names}"

    @property
    def needed(self) -> Right:
        """Return the right, reduced to the missing part."""
        right = self.right
        return Right(right.resource, right.name, self.operations, right.why, right.instances)


def principal_of(properties: Mapping[str, str]) -> str:
    """Return the user of a client for the cluster, as far as its properties show it.

    >>> principal_of({"sasl.username": "ader"}), principal_of({"security.protocol": "ssl"})
    ('User:ader', "User:SUBJECT OF THE CLIENT'S CERTIFICATE")
    """
    if user := properties.get("sasl.username"):
        return f"User:{user}"
    is_tls = properties.get("security.protocol", "").upper() == "SSL"
    return "User:SUBJECT OF THE CLIENT'S CERTIFICATE" if is_tls else "User:ANONYMOUS"


def refused(right: Right | str, said: str = "") -> AuthorizationError:
    """Return the error of a request that was refused because a right is missing."""
    words = f" ({said})" if said else ""
    return AuthorizationError(
        f"not authorized: this user needs {right}{words}; `ader-stream rights --kafka-acls` prints "
        "the commands that grant what each worker and command needs"
    )


def authorization_error_or(
    exception: KafkaException, right: Right, otherwise: Exception
) -> Exception:
    """Return the error of a failed request: of the right if it is missing, else `otherwise`."""
    error = exception.args[0]
    if not is_refusal(error):
        return otherwise
    is_right = REFUSALS[error.code()] == right.resource
    return refused(right if is_right else "a right", error.str())


def is_refusal(error: KafkaError) -> bool:
    """Return whether a request was refused because its user has no right to it."""
    return error.code() in REFUSALS


def find_missing_rights(admin: AdminClient, rights: Sequence[Right]) -> list[MissingRight]:
    """Return the missing rights of the client's user on topics, groups and the cluster.

    The broker reports what this user may do. A right that it does not report about counts as
    present: for a missing topic, a group whose coordinator does not answer, or a broker that is too
    old. For the cluster only its properties are checked. Transactional ids are not checked: no
    broker reports them.
    """
    asked = {
        "Topic": _topic_operations,
        "Group": _group_operations,
        "Cluster": _cluster_operations,
    }
    lacks: list[MissingRight] = []
    for resource, ask in asked.items():
        wanted = [right for right in rights if right.resource == resource and not right.when]
        names = {name for right in wanted for name in _names(right)}
        allowed = ask(admin, sorted(names)) if names else {}
        lacks += [lack for right in wanted if (lack := _lack_of(right, allowed))]
    return sorted(lacks, key=lambda lack: rights.index(lack.right))


def require_rights(clients: KafkaClients, rights: Sequence[Right], role: str) -> None:
    """Return if the user has the rights of a worker or command.

    Raises
    ------
    AuthorizationError
        Names each missing right.
    """
    lacks = find_missing_rights(clients.admin(), rights)
    if lacks:
        raise AuthorizationError(describe_missing_rights(lacks, clients, role))


def describe_missing_rights(lacks: Sequence[MissingRight], clients: KafkaClients, role: str) -> str:
    """Return which user misses which rights for a role, and how to grant them."""
    who = principal_of(clients.properties)
    grants = [lack.needed.grant(clients.bootstrap_servers, who) for lack in lacks]
    how = f"`ader-stream rights --as {shlex.quote(role)} --kafka-acls` prints what grants them"
    return (
        f"not authorized: {role} needs {', '.join(map(str, lacks))}, which {who} does not have; "
        f"{f'grant it with `{grants[0]}`' if len(grants) == 1 else how}"
    )


def _names(right: Right) -> tuple[str, ...]:
    return right.instances or (right.name,)


def _lack_of(right: Right, allowed: Mapping[str, frozenset[str]]) -> MissingRight | None:
    missing = {
        name: [operation for operation in right.operations if operation not in allowed[name]]
        for name in _names(right)
        if name in allowed
    }
    names = tuple(name for name, operations in missing.items() if operations)
    operations = {operation for name in names for operation in missing[name]}
    ordered = tuple(operation for operation in right.operations if operation in operations)
    return MissingRight(right, ordered, names) if names else None


def _topic_operations(admin: AdminClient, names: Sequence[str]) -> dict[str, frozenset[str]]:
    topics = TopicCollection([*names])
    return _answered(
        lambda: admin.describe_topics(topics, include_authorized_operations=True).items()
    )


def _group_operations(admin: AdminClient, names: Sequence[str]) -> dict[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    for name in names:
        found |= _answered(
            lambda n=name: admin.describe_consumer_groups(  # type: ignore[misc]
                [n], include_authorized_operations=True
            ).items()
        )
    return found


def _cluster_operations(admin: AdminClient, names: Sequence[str]) -> dict[str, frozenset[str]]:
    """Read properties of the cluster: a user without other rights on it gets no other answer."""
    broker = next(iter(admin.list_topics(timeout=ASK_SECONDS).brokers))
    resource = ConfigResource(ResourceType.BROKER, str(broker))
    [future] = admin.describe_configs([resource]).values()
    answer = _outcome(future)
    if not isinstance(answer, KafkaError):
        return {names[0]: frozenset({READ_CONFIGS})}
    return {names[0]: frozenset()} if is_refusal(answer) else {}


def _answered(
    ask: Callable[[], Iterable[tuple[str, Future[Any]]]],
) -> dict[str, frozenset[str]]:
    """Ask which operations are allowed, until no answer is a temporary error."""
    until = time.monotonic() + ASK_SECONDS
    while True:
        answers = {name: _outcome(future) for name, future in ask()}
        is_passing = any(_is_passing(answer) for answer in answers.values())
        if not is_passing or time.monotonic() > until:
            return dict(_allowed(answers))
        time.sleep(PAUSE_SECONDS)


def _outcome(future: Future[Any]) -> Any:
    try:
        return future.result(ASK_SECONDS)
    except KafkaException as exception:
        return exception.args[0]
    except TimeoutError:
        return KafkaError(KafkaError._TIMED_OUT)  # noqa: SLF001


def _is_passing(answer: Any) -> bool:
    return isinstance(answer, KafkaError) and answer.code() in _PASSING


def _allowed(answers: Mapping[str, Any]) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield the operations that each answer allows; nothing for one without operations.

    A user that may describe a topic or a group has at least that right: with none, the broker has
    not reported.
    """
    for name, answer in answers.items():
        if isinstance(answer, KafkaError):
            if is_refusal(answer):
                yield name, frozenset()
        elif operations := answer.authorized_operations:
            yield name, frozenset(_in_words(operation.name) for operation in operations)


def _in_words(name: str) -> str:
    """Return an operation as in kafka-acls.

    >>> _in_words("DESCRIBE_CONFIGS")
    'DescribeConfigs'
    """
    return "".join(part.capitalize() for part in name.split("_"))
