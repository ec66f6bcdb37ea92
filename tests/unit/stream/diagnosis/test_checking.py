from __future__ import annotations

from collections.abc import Iterator

import pytest
from confluent_kafka import KafkaError, KafkaException

from ader_stream.errors import AuthorizationError, TopicError
from ader_stream.stream.diagnosis.checking import Check, Once, run_checks
from ader_stream.stream.diagnosis.finding import Finding
from ader_stream.stream.kafka.clients import UNANSWERED


def failing(error: Exception) -> Check[None]:
    def run(_: None) -> Iterator[Finding]:
        yield Finding("ok", "one thing was seen")
        raise error

    return Check("topics", run)


FORBIDDEN = KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (TopicError("clicks: no such topic"), "clicks: no such topic"),
        (FORBIDDEN, "topics: not checked, Broker: Topic authorization failed"),
        (TimeoutError(), f"topics: not checked, {UNANSWERED}"),
        (ZeroDivisionError("by zero"), "topics: not checked, ZeroDivisionError: by zero"),
        (KeyError("name"), "topics: not checked, KeyError: 'name'"),
    ],
)
def test_a_check_that_fails_says_so_and_the_next_one_runs(error: Exception, text: str) -> None:
    after = Check[None]("after", lambda _: [Finding("ok", "another thing")])
    first, failed, last = run_checks([failing(error), after], None)
    assert (first.text, first.check) == ("one thing was seen", "topics")
    assert (failed.level, failed.text, failed.check) == ("error", text, "topics")
    assert (last.text, last.check) == ("another thing", "after")


def test_a_right_that_lacks_is_a_warning_where_no_worker_needs_it() -> None:
    error = AuthorizationError("ader.scores: not authorized")
    check = Check("places", failing(error).run, asks="Read on the topics")
    failed = list(run_checks([check], None))[-1]
    assert (failed.level, failed.remedy) == (
        "warning",
        "to have it checked, allow this user Read on the topics",
    )
    assert list(run_checks([failing(error)], None))[-1].level == "error"


def test_what_no_worker_needs_is_a_warning_and_names_the_right() -> None:
    check = Check("retention", failing(FORBIDDEN).run, asks="DescribeConfigs on its clicks topic")
    failed = list(run_checks([check], None))[-1]
    assert failed.level == "warning"
    assert (
        failed.remedy == "to have it checked, allow this user DescribeConfigs on its clicks topic"
    )


def test_what_several_checks_come_upon_is_reported_once() -> None:
    failing_twice = [failing(FORBIDDEN), failing(FORBIDDEN)]
    texts = [finding.text for finding in run_checks(failing_twice, None)]
    assert len([text for text in texts if "Topic authorization failed" in text]) == 1


def test_work_is_done_once_whether_it_succeeds_or_fails() -> None:
    calls: list[int] = []

    def work() -> list[int]:
        calls.append(1)
        if len(calls) > 1:
            raise AssertionError("called again")
        return calls

    once = Once(work)
    assert once() is once()
    failed = Once(work)
    for _ in range(2):
        with pytest.raises(AssertionError, match="again"):
            failed()
    assert len(calls) == 2
