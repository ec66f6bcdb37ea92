"""What is asked of a broker about rights, and what is made of its answers."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AclOperation, ConfigResource

from ader_stream.errors import AuthorizationError
from ader_stream.stream.kafka import rights as rights_
from ader_stream.stream.kafka.clients import KafkaClients
from ader_stream.stream.kafka.rights import (
    CLUSTER,
    Right,
    authorization_error_or,
    describe_missing_rights,
    find_missing_rights,
    principal_of,
)

READ, WRITE, DESCRIBE = AclOperation.READ, AclOperation.WRITE, AclOperation.DESCRIBE
REFUSED = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)
LOADING = KafkaError(KafkaError.COORDINATOR_LOAD_IN_PROGRESS)

Answer = Sequence[AclOperation] | KafkaError | None


@dataclass
class Broker:
    """Answers what a user may do: a list of operations, an error, or nothing known."""

    topics: Mapping[str, Answer] = field(default_factory=dict)
    groups: Mapping[str, list[Answer]] = field(default_factory=dict)
    cluster: Answer = None
    asked: list[str] = field(default_factory=list)

    def describe_topics(
        self, topics: TopicCollection, *, include_authorized_operations: bool
    ) -> dict[str, Future[Any]]:
        assert include_authorized_operations
        self.asked += topics.topic_names
        return {name: _future(self.topics[name]) for name in topics.topic_names}

    def describe_consumer_groups(
        self, groups: list[str], *, include_authorized_operations: bool
    ) -> dict[str, Future[Any]]:
        assert include_authorized_operations
        self.asked += groups
        return {name: _future(self.groups[name].pop(0)) for name in groups}

    def list_topics(self, timeout: float) -> SimpleNamespace:
        return SimpleNamespace(brokers={7: None})

    def describe_configs(self, resources: list[ConfigResource]) -> dict[Any, Future[Any]]:
        self.asked.append(CLUSTER)
        return {resource: _future(self.cluster) for resource in resources}


def _future(answer: Answer) -> Future[Any]:
    future: Future[Any] = Future()
    if isinstance(answer, KafkaError):
        future.set_exception(KafkaException(answer))
    else:
        future.set_result(SimpleNamespace(authorized_operations=answer))
    return future


def lacks(broker: Broker, *rights: Right) -> list[str]:
    return [str(lack) for lack in find_missing_rights(broker, rights)]  # type: ignore[arg-type]


def test_an_operation_that_is_not_among_the_allowed_ones_lacks() -> None:
    broker = Broker({"sessions": [READ, DESCRIBE]})

    assert lacks(broker, Right("Topic", "sessions", ("Read", "Write"))) == [
        "Write on Topic sessions"
    ]


def test_a_topic_that_may_not_even_be_described_lacks_all() -> None:
    broker = Broker({"sessions": REFUSED})

    said = ["Read and Write on Topic sessions"]
    assert lacks(broker, Right("Topic", "sessions", ("Read", "Write"))) == said


@pytest.mark.parametrize(
    "answer",
    [None, [], KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART), KafkaError(KafkaError._STATE)],
)
def test_what_a_broker_does_not_say_is_not_lacking(answer: Answer) -> None:
    assert lacks(Broker({"sessions": answer}), Right("Topic", "sessions", ("Write",))) == []


def test_of_a_prefix_each_name_that_lacks_is_reported() -> None:
    broker = Broker({"a.x": [DESCRIBE], "a.y": REFUSED, "a.z": REFUSED})
    right = Right("Topic", "a.", ("Describe",), instances=("a.x", "a.y", "a.z"))

    assert lacks(broker, right) == ["Describe on Topic a.* (a.y, a.z)"]


def test_a_coordinator_that_is_being_chosen_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rights_, "PAUSE_SECONDS", 0.0)
    broker = Broker(groups={"g": [LOADING, LOADING, [DESCRIBE]]})

    assert lacks(broker, Right("Group", "g", ("Read",))) == ["Read on Group g"]


def test_a_coordinator_that_is_never_chosen_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rights_, "ASK_SECONDS", 0.0)

    assert lacks(Broker(groups={"g": [LOADING]}), Right("Group", "g", ("Read",))) == []


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (KafkaError(KafkaError.CLUSTER_AUTHORIZATION_FAILED), ["DescribeConfigs on Cluster"]),
        (None, []),
        (KafkaError(KafkaError._TIMED_OUT), []),
    ],
)
def test_whether_brokers_may_be_asked_is_found_out_by_asking(
    answer: Answer, expected: list[str]
) -> None:
    found = lacks(Broker(cluster=answer), Right("Cluster", CLUSTER, ("DescribeConfigs",)))

    assert found == [f"{text} {CLUSTER}" for text in expected]


def test_what_is_needed_in_some_cases_and_transactional_ids_are_not_asked_for() -> None:
    broker = Broker()
    sometimes = Right("Topic", "sessions", ("Delete",), when="versions are pruned")

    assert lacks(broker, sometimes, Right("TransactionalId", "t", ("Write",))) == []
    assert broker.asked == []


def test_what_lacks_comes_in_the_order_of_the_rights() -> None:
    broker = Broker({"a": REFUSED, "b": REFUSED}, {"g": [[]]})
    broker.groups["g"][0] = KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED)
    wanted = [Right("Topic", "b", ("Read",)), Right("Group", "g", ("Read",)),
              Right("Topic", "a", ("Write",))]  # fmt: skip

    assert lacks(broker, *wanted) == [str(right) for right in wanted]


def test_one_lack_comes_with_the_command_that_grants_it() -> None:
    broker = Broker({"a": [DESCRIBE]})
    clients = KafkaClients("kafka:9092", {"sasl.username": "shop"})
    found = find_missing_rights(broker, [Right("Topic", "a", ("Write",))])  # type: ignore[arg-type]

    assert describe_missing_rights(found, clients, "trainer") == (
        "not authorized: trainer needs Write on Topic a, which User:shop does not have; grant it "
        "with `kafka-acls --bootstrap-server kafka:9092 --add --allow-principal User:shop "
        "--operation Write --topic a`"
    )


def test_several_lacks_come_with_the_command_that_prints_what_grants_them() -> None:
    broker = Broker({"a": REFUSED, "b": REFUSED})
    wanted = [Right("Topic", name, ("Read",)) for name in "ab"]
    found = find_missing_rights(broker, wanted)  # type: ignore[arg-type]

    said = describe_missing_rights(found, KafkaClients("kafka:9092"), "models pin")
    assert "needs Read on Topic a, Read on Topic b, which User:ANONYMOUS does not have" in said
    assert "`ader-stream rights --as 'models pin' --kafka-acls`" in said


@pytest.mark.parametrize(
    ("right", "option"),
    [
        (Right("Topic", "a", ("Read",)), "--topic a"),
        (Right("Group", "a", ("Read",)), "--group a"),
        (Right("TransactionalId", "a", ("Read",)), "--transactional-id a"),
        (Right("Cluster", CLUSTER, ("Read",)), "--cluster"),
        (Right("Topic", "a.", ("Read",), instances=("a.b",)),
         "--topic a. --resource-pattern-type prefixed"),
    ],
)  # fmt: skip
def test_each_kind_of_right_is_granted_by_its_own_option(right: Right, option: str) -> None:
    command = right.grant("kafka:9092", "User:CN=shop, O=x")

    assert command.endswith(f"--operation Read {option}")
    assert "User:CN=shop, O=x" in shlex.split(command)


def test_a_client_without_a_user_is_named_as_the_broker_does() -> None:
    assert principal_of({}) == "User:ANONYMOUS"


def test_only_a_refusal_is_reported_as_a_lack() -> None:
    right, other = Right("Topic", "a", ("Alter",)), AuthorizationError("other")

    assert "needs Alter on Topic a" in str(
        authorization_error_or(KafkaException(REFUSED), right, other)
    )
    assert authorization_error_or(KafkaException(LOADING), right, other) is other
