from __future__ import annotations

import socket
import sys
from collections.abc import Iterator

import pytest
import structlog

from ader_stream.errors import ClickError, IgnoredError, InputError
from ader_stream.runtime import process
from ader_stream.runtime.tracing import otlp
from ader_stream.runtime.tracing.otlp import MOST_LINKS, OtlpTracing
from ader_stream.runtime.tracing.spans import NO_TRACING, sampled
from ader_stream.stream.sessions import click_traces
from ader_stream.stream.sessions.click_traces import MOST_CONTEXTS, ClickTraces
from ader_stream.types import Click
from tests.otlp import Collector


def context(number: int, flags: str = "01") -> str:
    return f"00-{number:032x}-{number:016x}-{flags}"


class Traced:
    """A record with a key and a context."""

    def __init__(self, key: str, number: int, flags: str = "01") -> None:
        self.key = key
        self._context = context(number, flags)

    def headers(self) -> list[tuple[str, bytes]]:
        return [("other", b""), ("traceparent", self._context.encode())]


def clicks_of(record: Traced) -> list[Click]:
    if record.key == "refused":
        raise ClickError("malformed", "no item")
    if record.key == "ignored":
        raise IgnoredError("filter")
    return [Click(key, "hat", 1) for key in record.key.split("+")]


@pytest.fixture
def dropped() -> list[int]:
    return []


@pytest.fixture
def traces(dropped: list[int]) -> ClickTraces:
    return ClickTraces(clicks_of, dropped.append)  # type: ignore[arg-type]


def test_a_closed_session_names_the_traces_of_its_clicks_once(traces: ClickTraces) -> None:
    traces.note([Traced("a", 1), Traced("b", 2), Traced("a", 3)])  # type: ignore[list-item]
    assert traces.take(["a", "c"]) == [context(1), context(3)]
    assert traces.take(["a", "b"]) == [context(2)]


def test_a_record_of_many_clicks_leads_to_each_of_their_sessions(traces: ClickTraces) -> None:
    traces.note([Traced("a+b+a", 1)])  # type: ignore[list-item]
    assert (traces.take(["a"]), traces.take(["b"])) == ([context(1)], [context(1)])


def test_what_is_not_sampled_or_no_click_is_not_traced(traces: ClickTraces) -> None:
    traces.note([Traced("a", 1, "00"), Traced("refused", 2), Traced("ignored", 3)])  # type: ignore[list-item]
    assert traces.take(["a", "refused", "ignored"]) == []


def test_what_is_beyond_the_bounds_is_counted(
    traces: ClickTraces, dropped: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(click_traces, "MOST_KEYS", 2)
    traces.note([Traced("a", n) for n in range(1, MOST_CONTEXTS + 3)])  # type: ignore[misc]
    assert sum(dropped) == 2
    traces.note([Traced("b", 50), Traced("a", 51), Traced("c", 52)])  # type: ignore[list-item]
    assert sum(dropped) == 4  # the seventeenth of a, and b, without a click for longest
    assert (len(traces.take(["a"])), traces.take(["b"]), traces.take(["c"])) == (
        MOST_CONTEXTS,
        [],
        [context(52)],
    )


@pytest.mark.parametrize("text", ["", "00", context(1, "00"), context(1) + "-x", "0" * 55])
def test_a_context_that_is_none_or_not_sampled_asks_for_nothing(text: str) -> None:
    assert sampled(text) == ""


def test_spans_reach_the_collector_with_parent_links_and_attributes() -> None:
    with Collector() as collector:
        spans = OtlpTracing(collector.endpoint, "trainer")
        with (
            spans.span("train", links=[context(7), "no context"], sessions=3, blocks=(1, 2)) as own,
            spans.span("publish", parent=own),
        ):
            spans.note(version=4)
        spans.close()
    publish, train = sorted(collector.spans, key=lambda span: span.name)
    assert (publish.parent_span_id, publish.trace_id) == (train.span_id, train.trace_id)
    assert own.startswith(f"00-{train.trace_id.hex()}-{train.span_id.hex()}-")
    assert sampled(own)
    assert [link.span_id.hex() for link in train.links] == [f"{7:016x}"]
    assert collector.attributes(train) == {
        "ader.sessions": 3,
        "ader.blocks": "(1, 2)",
        "ader.contexts_without_link": 1,
    }
    assert collector.attributes(publish) == {"ader.version": 4}
    assert collector.services == {"ader-stream-trainer"}


def test_contexts_beyond_the_most_links_are_counted() -> None:
    with Collector() as collector:
        spans = OtlpTracing(collector.endpoint, "trainer")
        with spans.span("train", links=[context(n + 1) for n in range(MOST_LINKS + 9)]):
            pass
        spans.close()
    [train] = collector.spans
    assert len(train.links) == MOST_LINKS
    assert collector.attributes(train) == {"ader.contexts_without_link": 9}


@pytest.fixture(params=["refuses", "is silent"])
def away(request: pytest.FixtureRequest) -> Iterator[str]:
    """Address of a collector that takes nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        if request.param == "refuses":
            silent.close()
        yield f"http://127.0.0.1:{port}/v1/traces"


def test_a_collector_that_is_away_costs_no_more_than_its_spans(
    away: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(otlp, "CLOSE_SECONDS", 0.1)
    spans = OtlpTracing(away, "trainer")
    for _ in range(600):
        with spans.span("train") as own:
            pass
    assert sampled(own)
    with structlog.testing.capture_logs() as logged:
        spans.close()
    assert [line["endpoint"] for line in logged if "spans are lost" in line["event"]] == [away]


def test_without_the_extra_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*sys.modules]:
        if name.startswith(("opentelemetry", "ader_stream.runtime.tracing.otlp")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(InputError, match=r"needs opentelemetry.*\[tracing\]'"):
        process._tracing("http://localhost:4318/v1/traces", "trainer")


def test_without_an_endpoint_nothing_is_recorded() -> None:
    with NO_TRACING.span("train", links=[context(1)], sessions=3) as own:
        NO_TRACING.note(version=1)
    assert own == ""
