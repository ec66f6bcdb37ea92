from __future__ import annotations

import re
from concurrent.futures import Future

import pytest
from confluent_kafka import KafkaError, KafkaException
from structlog.testing import capture_logs

from ader_stream.errors import ClientError, SettingsError
from ader_stream.stream.kafka import clients
from ader_stream.stream.kafka.clients import UNANSWERED, ClientErrorLog, KafkaClients, client_errors


def test_what_the_client_raises_is_one_line() -> None:
    with pytest.raises(ClientError, match=r"Kafka: .* \(_TIMED_OUT\)"), client_errors():
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))


def test_a_request_that_no_broker_answers_is_one_line() -> None:
    with pytest.raises(ClientError) as caught, client_errors():
        Future[None]().result(0.01)
    assert str(caught.value) == UNANSWERED


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("acks", "1"),
        ("enable.idempotence", "false"),
        ("isolation.level", "read_uncommitted"),
        ("enable.auto.commit", "true"),
        ("auto.offset.reset", "latest"),
        ("group.id", "mine"),
        ("transactional.id", "mine"),
    ],
)
def test_no_property_takes_away_what_exactly_once_relies_on(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(f"kafka.librdkafka: {name} = {value}; ")):
        KafkaClients("x", {name: value})


@pytest.mark.parametrize(("name", "value"), [("acks", "-1"), ("enable.idempotence", "True")])
def test_what_is_relied_on_may_be_said(name: str, value: str) -> None:
    assert KafkaClients("x", {name: value}).properties == {name: value}


def test_an_error_that_was_set_before_a_callback_is_raised_for_what_cpython_makes_of_it() -> None:
    fatal = KafkaException(KafkaError(KafkaError._FENCED, fatal=True))

    def serve(_: object, cause: Exception | None) -> None:
        raise SystemError("a callback returned a result with an exception set") from cause

    served = clients._raises_its_own_error(serve)
    with pytest.raises(KafkaException) as raised:
        served(None, fatal)
    assert raised.value is fatal
    with pytest.raises(SystemError):
        served(None, None)
    producer = KafkaClients("localhost:1").producer()
    assert all(call in vars(type(producer)) for call in ("poll", "flush", "commit_transaction"))


def test_errors_of_clients_are_logged_at_most_once_in_a_while_and_the_others_counted() -> None:
    now = 0.0
    tell = ClientErrorLog(10.0, clock=lambda: now)
    with capture_logs() as logged:
        for now in (0.0, 1.0, 9.0, 11.0, 22.0):  # noqa: B007 - the clock reads it
            tell(KafkaError(KafkaError._ALL_BROKERS_DOWN))
            tell(KafkaError(KafkaError._TRANSPORT))
    of_one = [line.get("similar_left_out", 0) for line in logged if line["code"] == "_TRANSPORT"]
    assert of_one == [0, 2, 0]
    assert len(logged) == 6
