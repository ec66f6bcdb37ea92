"""One click is followed from its record to the version that has learned from it."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from ader_stream.stream.clicks.decoder import ClickFormat, encode_click
from ader_stream.types import Click
from tests.integration.system import SMALL, Kafka, RawRecord, System
from tests.otlp import Collector

CLICK = "00-" + 31 * "0" + "7-" + 15 * "0" + "7-01"
CALLER = "00-" + 31 * "0" + "9-" + 15 * "0" + "9-01"
UNSAMPLED = CLICK[:-2] + "00"

FIRST_TIME = 4 * 86_400_000
"""Of block 0: the first Monday of 1970."""


@pytest.fixture(scope="module")
def collector(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    """The spans of all workers after a block in which one click was traced, and a request."""
    with Collector() as collector:
        overrides = SMALL | {"tracing": {"endpoint": collector.endpoint}}
        folder = tmp_path_factory.mktemp("traces")
        with System(kafka.bootstrap_servers, folder, overrides, partitions=1) as system:
            names = ("sessionizer", "trainer", "inference")
            workers = [system.start(name) for name in names]
            system.send_raw(clicks())
            system.end_block(0)
            system.wait_until_served(0)
            ask(workers[-1].port, {"traceparent": CALLER})
            ask(workers[-1].port, {"traceparent": UNSAMPLED})
            ask(workers[-1].port, {})
            for worker in workers:
                worker.terminate()
            assert [worker.wait() for worker in workers] == [0, 0, 0]
        yield collector


def clicks() -> Iterator[RawRecord]:
    for visit in range(40):
        for place, item in enumerate(("hat", "bag", "shoe")):
            time = FIRST_TIME + 60_000 * visit + 1_000 * place
            value = encode_click(Click(f"visit-{visit}", item, time), ClickFormat())
            traced = {0: CLICK, 1: UNSAMPLED}.get(visit) if place == 1 else None
            headers = [("traceparent", traced.encode())] if traced else None
            yield RawRecord(f"visit-{visit}".encode(), value, headers, 0, time + 1)


def ask(port: int, headers: dict[str, str]) -> None:
    body = json.dumps({"items": ["hat"]}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}/recommend", body, headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200


def links(span: Any) -> list[bytes]:
    return [link.span_id for link in span.links]


def test_a_click_leads_to_the_version_that_serves(collector: Collector) -> None:
    [written] = collector.named("write sessions")
    assert links(written) == [bytes.fromhex(CLICK.split("-")[2])]
    [train] = [span for span in collector.named("train") if links(span)]
    assert links(train) == [written.span_id]
    [publish] = [s for s in collector.named("publish") if s.parent_span_id == train.span_id]
    [swap] = [s for s in collector.named("swap") if s.parent_span_id == publish.span_id]
    assert collector.attributes(swap) == {"ader.version": 1}
    assert {span.trace_id for span in (publish, swap)} == {train.trace_id}


def test_only_requests_whose_callers_ask_for_it_are_traced(collector: Collector) -> None:
    [request] = collector.named("recommend")
    assert request.parent_span_id == bytes.fromhex(CALLER.split("-")[2])
    assert collector.attributes(request)["ader.version"] == 1


def test_every_worker_sends_its_own(collector: Collector) -> None:
    names = ("sessionizer", "trainer", "inference")
    assert collector.services == {f"ader-stream-{name}" for name in names}
