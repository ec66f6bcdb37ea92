"""Recommendations over HTTP while versions come and go."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from ader_stream.metrics import CATALOGUE
from ader_stream.stream.avro.codec import decode
from ader_stream.stream.clicks.decoder import encode_click
from ader_stream.stream.model_registry.model_log import ModelPublisher
from ader_stream.types import Click
from tests.integration.artifacts import FREQUENT, ITEMS, manifest_of, tiny_parts
from tests.integration.system import Kafka, RawRecord, System, Worker

THREADS = 4
VERSIONS = 6


@pytest.fixture(scope="module")
def parts() -> list[dict[str, bytes]]:
    """Two models that differ."""
    return [tiny_parts(seed) for seed in (1, 2)]


@pytest.fixture(scope="module")
def system(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with System(kafka.bootstrap_servers, tmp_path_factory.mktemp("serving")) as system:
        yield system


@pytest.fixture(scope="module")
def unready(system: System) -> dict[str, httpx.Response]:
    """Answers of the worker before the first version, by path."""
    worker = system.start("inference")
    system.wait_until(lambda: "no version" in worker.readiness(), "it has joined its group")
    answers = {path: worker.get(path) for path in ("/healthz", "/readyz", "/metrics")}
    return answers | {"/recommend": worker.post("/recommend", {"items": [ITEMS[0]]})}


@pytest.fixture(scope="module")
def inference(
    system: System, unready: dict[str, httpx.Response], parts: list[dict[str, bytes]]
) -> Worker:
    """A worker that serves version 1."""
    publish(system, 1, parts[0])
    [worker] = system.workers
    system.wait_until_ready(worker)
    return worker


def publish(system: System, version: int, parts: dict[str, bytes]) -> None:
    publisher = ModelPublisher(system.clients, system.topics, chunk_size=1_000)
    publisher.publish(manifest_of(version, parts), parts)


def test_before_the_first_version_it_is_alive_and_not_ready(
    unready: dict[str, httpx.Response],
) -> None:
    codes = {path: answer.status_code for path, answer in unready.items()}
    assert codes == {"/healthz": 200, "/readyz": 503, "/metrics": 200, "/recommend": 503}
    assert unready["/readyz"].text == "no version has been published yet\n"
    assert unready["/recommend"].json() == {
        "error": "no version has been published yet; try again later"
    }


def test_items_get_ranked_items_that_the_model_knows(inference: Worker) -> None:
    found = inference.post("/recommend", {"items": [ITEMS[0], ITEMS[1]], "k": 5}).json()
    scores = [entry["score"] for entry in found["items"]]
    assert (found["fallback"], len(scores)) == (False, 5)
    assert scores == sorted(scores, reverse=True)
    assert {entry["item"] for entry in found["items"]} <= set(ITEMS)


def test_unknown_items_count_for_nothing(inference: Worker) -> None:
    known = inference.post("/recommend", {"items": [ITEMS[0], ITEMS[1]]})
    mixed = inference.post("/recommend", {"items": [ITEMS[0], "never seen", ITEMS[1]]})
    assert mixed.json() == known.json()


def test_unknown_items_only_get_the_most_frequent_ones(inference: Worker) -> None:
    found = inference.post("/recommend", {"items": ["never seen", 7], "k": 2}).json()
    assert found["fallback"] is True
    assert found["items"] == [{"item": item, "score": 0.0} for item in FREQUENT[:2]]
    assert inference.metric("ader_fallback_recommendations_total") >= 1


def test_an_open_session_gets_what_its_items_get(system: System, inference: Worker) -> None:
    start = system.settings.block_rule.start(0)
    clicks = [Click("shopper", item, start + number) for number, item in enumerate(ITEMS[:3])]
    system.send(clicks)
    system.wait_until_scored(len(clicks))
    by_key = inference.get("/recommend", session="shopper", k="4")
    by_items = inference.post("/recommend", {"items": [*ITEMS[:3]], "k": 4})
    assert by_key.json() == by_items.json()
    assert len(by_key.json()["items"]) == 4


def test_a_recommendation_is_written_after_a_click(system: System, inference: Worker) -> None:
    time = system.settings.block_rule.start(0) + 10
    value = encode_click(Click("written", ITEMS[4], time), system.settings.click_format)
    system.send_raw([RawRecord(b"written", value, timestamp=time + 1)])
    system.wait_until(lambda: "written" in recommendations(system), "it is in the topic")
    now = inference.get("/recommend", session="written").json()
    written = recommendations(system)["written"]
    assert (written["session"], written["time"]) == ("written", time)
    assert {name: written[name] for name in now} == now


def recommendations(system: System) -> dict[str, dict[str, object]]:
    records = system.records(system.topics.recommendations)
    return {
        (record.key() or b"").decode(): decode(record.value(), record.headers())[1]
        for record in records
    }


def test_a_session_that_is_not_open_is_404(inference: Worker) -> None:
    answer = inference.get("/recommend", session="nobody")
    assert answer.status_code == 404
    assert "session 'nobody' is not open on this worker" in answer.json()["error"]


@pytest.mark.parametrize(
    ("params", "reason"),
    [({}, "session: expected the key"), ({"session": "shopper", "k": "0"}, "k = '0': expected")],
)
def test_a_bad_get_is_400_and_says_why(
    inference: Worker, params: dict[str, str], reason: str
) -> None:
    answer = inference.get("/recommend", **params)
    assert (answer.status_code, reason in answer.json()["error"]) == (400, True)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", 'body: expected JSON {"items": [ITEM, '),
        (b"[1, 2]", 'body: expected JSON {"items": [ITEM, '),
        (b'{"items": "shoe"}', 'body: expected JSON {"items": [ITEM, '),
        (b'{"items": [null]}', "items: expected at most"),
        (b'{"items": [true]}', "items: expected at most"),
        (b'{"items": ["shoe"], "k": 1001}', "k = 1001: expected a whole number from 1 to 1000"),
        (b'{"items": ["shoe"], "k": "many"}', "k = 'many': expected a whole number"),
    ],
)
def test_a_bad_post_is_400_and_says_why(inference: Worker, body: bytes, reason: str) -> None:
    answer = httpx.post(inference.url + "/recommend", content=body)
    assert (answer.status_code, reason in answer.json()["error"]) == (400, True)


def test_metrics_are_those_of_the_catalogue(inference: Worker) -> None:
    shown = {
        line.split()[2]
        for line in inference.get("/metrics").text.splitlines()
        if line.startswith("# TYPE ader_")
    }
    assert {"ader_version_served", "ader_swap_seconds", "ader_requests_total"} <= shown
    assert shown <= {metric.name for metric in CATALOGUE}


def test_no_request_fails_while_versions_are_swapped(
    system: System, inference: Worker, parts: list[dict[str, bytes]]
) -> None:
    with constant_load(inference) as answers:
        for version in range(2, VERSIONS + 1):
            publish(system, version, parts[version % 2])
            wait_until_every_thread_meets(system, answers, version)
    assert {answer.status_code for thread in answers for answer in thread} == {200}
    for thread in answers:
        versions = versions_of(thread)
        assert versions == sorted(versions), "an older version answered after a newer one"


def wait_until_every_thread_meets(
    system: System, answers: Sequence[Sequence[httpx.Response]], version: int
) -> None:
    system.wait_until(
        lambda: all(version in versions_of(thread) for thread in answers),
        f"version {version} answers every thread",
    )


@contextmanager
def constant_load(worker: Worker) -> Iterator[list[list[httpx.Response]]]:
    """Ask without a pause from several threads; yield the answers of each as they come."""
    done = threading.Event()
    answers: list[list[httpx.Response]] = [[] for _ in range(THREADS)]

    def ask(mine: list[httpx.Response]) -> None:
        with httpx.Client(base_url=worker.url, timeout=30) as client:
            while not done.is_set():
                mine.append(client.post("/recommend", json={"items": [*ITEMS[:3]]}))

    with ThreadPoolExecutor(THREADS) as pool:
        asking = [pool.submit(ask, mine) for mine in answers]
        try:
            yield answers
        finally:
            done.set()
        for thread in asking:
            thread.result()  # raises what has ended it


def versions_of(answers: Sequence[httpx.Response]) -> list[int]:
    return [answer.json()["version"] for answer in answers if answer.is_success]


def test_the_serving_topic_says_when_a_version_went_live(
    system: System, inference: Worker, parts: list[dict[str, bytes]]
) -> None:
    newest = VERSIONS + 1
    publish(system, newest, parts[0])
    system.wait_until(
        lambda: newest in system.view.manifests and serving(system, inference)["version"] == newest,
        "both topics show it",
    )
    shown, manifest = serving(system, inference), system.view.manifests[newest]
    seconds = (shown["live_at"] - manifest.run.published_at) / 1000
    assert shown["publish_to_live_seconds"] == pytest.approx(seconds)
    assert inference.metric("ader_publish_to_live_seconds") == pytest.approx(seconds)
    assert {held["partition"] for held in shown["partitions"]} == {0, 1, 2}


def serving(system: System, worker: Worker) -> dict[str, Any]:
    return dict(system.view.serving[worker.url.removeprefix("http://")])


def test_a_taken_port_is_one_clear_line_and_exit_code_2(system: System, inference: Worker) -> None:
    refused = system.start("sessionizer", http={"port": inference.port})
    assert refused.wait() == 2
    [reason] = [line for line in refused.log.read_text().splitlines() if "level=info" not in line]
    assert reason.startswith(f"ader-stream: http.host:port = 127.0.0.1:{inference.port}: ")
