from __future__ import annotations

from concurrent.futures import Future

import pytest
from confluent_kafka import KafkaError, KafkaException

from ader_stream.errors import ClientError
from ader_stream.stream.kafka.clients import UNANSWERED, client_errors


def test_what_the_client_raises_is_one_line() -> None:
    with pytest.raises(ClientError, match=r"Kafka: .* \(_TIMED_OUT\)"), client_errors():
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))


def test_a_request_that_no_broker_answers_is_one_line() -> None:
    with pytest.raises(ClientError) as caught, client_errors():
        Future[None]().result(0.01)
    assert str(caught.value) == UNANSWERED
