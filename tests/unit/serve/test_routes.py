from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette

from ader_stream.metrics import Metrics
from ader_stream.runtime.http import make_app
from ader_stream.serve import routes
from ader_stream.serve.click_weights import click_weights
from ader_stream.serve.loaded_versions import LoadedVersions, Version
from ader_stream.serve.recommending import recommend
from ader_stream.serve.requests import MAX_BODY, MAX_ITEMS, MAX_K, MAX_SESSIONS
from ader_stream.serve.routes import RecommendRoutes
from tests.unit.serve.app_client import AppClient

OPEN_SESSIONS = {"a": ("item-1", "item-2"), "ü/ &?": ("new",)}


class BrokenVersion:
    """What must not happen: a version that cannot rank."""

    @property
    def vocabulary(self) -> None:
        raise RuntimeError("no vocabulary")


def app(registry: CollectorRegistry, served: Any) -> Starlette:
    versions = LoadedVersions(pytest.fail)
    versions.served = served
    metrics = Metrics(registry)
    routes = RecommendRoutes(versions, OPEN_SESSIONS.get, 20, metrics)
    return make_app(metrics, lambda: "", routes.routes())


@pytest.fixture
def client(registry: CollectorRegistry, version: Version) -> AppClient:
    return AppClient(app(registry, version))


def ranked(version: Version, items: tuple[str, ...], k: int) -> list[dict[str, Any]]:
    [found] = recommend(version, [items], k)
    return [{"item": item, "score": score} for item, score in found.items]


def requests_with(registry: CollectorRegistry, status: int) -> float | None:
    labels = {"path": "/recommend", "status": str(status)}
    return registry.get_sample_value("ader_requests_total", labels)


def test_an_open_session_is_answered_by_its_items(client: AppClient, version: Version) -> None:
    answer = client.get("/recommend", params={"session": "a", "k": 3})
    assert answer.status_code == 200
    items = ranked(version, OPEN_SESSIONS["a"], 3)
    assert answer.json() == {"version": 3, "fallback": False, "items": items}


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_reasons_are_given_to_those_who_ask(
    client: AppClient, version: Version, method: str
) -> None:
    if method == "GET":
        answer = client.get("/recommend", params={"session": "a", "k": 3, "reasons": "true"})
    else:
        asked = {"items": OPEN_SESSIONS["a"], "k": 3, "reasons": True}
        answer = client.request("POST", "/recommend", content=json.dumps(asked).encode())
    found = answer.json()["items"]
    weighed = click_weights(version, OPEN_SESSIONS["a"], [each["item"] for each in found])
    assert [each["reasons"] for each in found] == [[w._asdict() for w in own] for own in weighed]
    assert any(each["reasons"] for each in found)


@pytest.mark.parametrize("flag", ["yes", "", "2", "null"])
def test_a_flag_that_is_neither_true_nor_false_is_refused(client: AppClient, flag: str) -> None:
    answer = client.get("/recommend", params={"session": "a", "reasons": flag})
    assert answer.status_code == 400
    assert answer.json()["error"] == f"reasons = {flag!r}: expected true or false"


def test_a_list_of_items_is_answered(client: AppClient, version: Version) -> None:
    answer = client.post("/recommend", json={"items": ["item-1", "item-2"], "k": 3})
    assert answer.json()["items"] == ranked(version, ("item-1", "item-2"), 3)


def test_a_canary_answers_a_request_that_names_a_session_on_its_share(
    registry: CollectorRegistry, version: Version
) -> None:
    versions = LoadedVersions(pytest.fail)
    versions.served = version
    versions.serve_canary(replace(version, number=4), 1.0)
    metrics = Metrics(registry)
    routes = RecommendRoutes(versions, OPEN_SESSIONS.get, 20, metrics)
    client = AppClient(make_app(metrics, lambda: "", routes.routes()))
    assert client.get("/recommend", params={"session": "a"}).json()["version"] == 4
    by_items = {"items": ["item-1"]}
    assert client.post("/recommend", json=by_items).json()["version"] == 3
    assert client.post("/recommend", json=by_items | {"session": "a"}).json()["version"] == 4
    batch = {"sessions": [by_items, by_items | {"session": "a"}, by_items], "k": 1}
    answers = client.post("/recommend/batch", json=batch).json()["answers"]
    assert [answer["version"] for answer in answers] == [3, 4, 3]
    half_a_pair = client.post("/recommend", content=b'{"items": ["item-1"], "session": "\\ud800"}')
    assert half_a_pair.json()["version"] == 4
    refused = client.post("/recommend", json=by_items | {"session": 7})
    assert (refused.status_code, "the key of the session" in refused.text) == (400, True)


def test_k_is_the_workers_own_where_the_request_does_not_say(client: AppClient) -> None:
    assert len(client.get("/recommend", params={"session": "a"}).json()["items"]) == 20
    assert len(client.post("/recommend", json={"items": ["item-1"]}).json()["items"]) == 20


def test_numbers_are_items_too(client: AppClient, version: Version) -> None:
    answer = client.post("/recommend", json={"items": [7, "item-1"], "k": 2})
    assert answer.json()["items"] == ranked(version, ("7", "item-1"), 2)


def test_unknown_items_alone_get_the_most_frequent_ones_and_say_so(
    client: AppClient, registry: CollectorRegistry
) -> None:
    answer = client.get("/recommend", params={"session": "ü/ &?", "k": 1})
    assert answer.json() == {
        "version": 3,
        "fallback": True,
        "items": [{"item": "item-4", "score": 0.0}],
    }
    assert client.post("/recommend", json={"items": []}).json()["fallback"]
    assert registry.get_sample_value("ader_fallback_recommendations_total") == 2


def test_a_session_that_is_not_open_here_is_not_found(
    client: AppClient, registry: CollectorRegistry
) -> None:
    answer = client.get("/recommend", params={"session": "nobody"})
    assert answer.status_code == 404
    assert "'nobody' is not open on this worker" in answer.json()["error"]
    assert requests_with(registry, 404) == 1


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("", "session: expected"),
        ("session=", "session: expected"),
        ("session=a&k=0", "k = '0'"),
        (f"session=a&k={MAX_K + 1}", "k = "),
        ("session=a&k=-1", "k = "),
        ("session=a&k=x", "k = 'x'"),
        ("session=a&k=1.5", "k = "),
        ("session=a&k=" + "9" * 5_000, "k = "),
    ],
)
def test_a_wrong_query_is_shown_what_was_expected(
    client: AppClient, registry: CollectorRegistry, query: str, named: str
) -> None:
    answer = client.get(f"/recommend?{query}")
    assert (answer.status_code, requests_with(registry, 400)) == (400, 1)
    assert named in answer.json()["error"]
    assert len(answer.content) < 300


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b"", "body: expected JSON"),
        (b"{", "body: expected JSON"),
        (b"\xff", "body: expected JSON"),
        (b"[" * 100_000, "body: expected JSON"),
        (b"[]", "body: expected JSON"),
        (b'{"items": "x"}', "body: expected JSON"),
        (b'{"items": [1.5]}', "items: expected"),
        (b'{"items": [true]}', "items: expected"),
        (b'{"items": [null]}', "items: expected"),
        (b'{"items": ["x"], "k": true}', "k = True"),
        (b'{"items": ["x"], "k": null}', "k = None"),
        (b'{"items": ["x"], "k": [1]}', "k = [1]"),
        (json.dumps({"items": [1] * (MAX_ITEMS + 1)}).encode(), f"at most {MAX_ITEMS}"),
        (b" " * (MAX_BODY + 1), f"at most {MAX_BODY} bytes"),
    ],
)
def test_a_wrong_body_is_shown_what_was_expected(
    client: AppClient, body: bytes, named: str
) -> None:
    answer = client.post("/recommend", content=body)
    assert answer.status_code == 400
    assert named in answer.json()["error"]


def test_an_item_that_utf8_cannot_hold_is_an_unknown_one(client: AppClient) -> None:
    answer = client.post("/recommend", content=b'{"items": ["\\ud800"], "k": 1}')
    assert (answer.status_code, answer.json()["fallback"]) == (200, True)


def test_before_the_first_version_there_is_no_answer_yet(registry: CollectorRegistry) -> None:
    answer = AppClient(app(registry, None)).post("/recommend", json={"items": ["x"]})
    assert answer.status_code == 503
    assert "no version has been published yet" in answer.json()["error"]


def test_an_unforeseen_error_is_one_answer_and_is_counted(registry: CollectorRegistry) -> None:
    client = AppClient(app(registry, BrokenVersion()))
    answer = client.post("/recommend", json={"items": ["x"]})
    assert (answer.status_code, requests_with(registry, 500)) == (500, 1)
    assert "Traceback" not in answer.text


def test_latency_is_measured(client: AppClient, registry: CollectorRegistry) -> None:
    client.get("/recommend", params={"session": "a"})
    labels = {"path": "/recommend"}
    assert registry.get_sample_value("ader_request_seconds_count", labels) == 1
    assert registry.get_sample_value("ader_request_seconds_sum", labels) > 0
    assert requests_with(registry, 200) == 1


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_other_methods_are_not_allowed(client: AppClient, version: Version, method: str) -> None:
    assert client.request(method, "/recommend").status_code == 405


def test_latency_includes_the_wait_for_a_thread(
    client: AppClient, registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 1.5, 4.0])  # headers, thread, answer
    monkeypatch.setattr(routes, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    client.post("/recommend", json={"items": ["item-1"]})
    path = {"path": "/recommend"}
    assert registry.get_sample_value("ader_request_queue_seconds_sum", path) == 1.5
    assert registry.get_sample_value("ader_request_seconds_sum", path) == 4.0


def test_an_openmetrics_reader_gets_the_trace_of_a_slow_request(client: AppClient) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    for traceparent in (f"00-{trace}-00f067aa0ba902b7-01", "no trace"):
        headers = {"traceparent": traceparent}
        assert client.get("/recommend", params={"session": "a"}, headers=headers).status_code == 200
    openmetrics = {"accept": "application/openmetrics-text; version=1.0.0"}
    shown = client.get("/metrics", headers=openmetrics).text
    assert shown.count(f'# {{trace_id="{trace}"}}') == 1
    assert "trace_id" not in client.get("/metrics").text


def asked(client: AppClient, path: str = "/recommend", **body: Any) -> Any:
    answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def listed(client: AppClient, **body: Any) -> list[str]:
    return [each["item"] for each in asked(client, items=["item-1", "item-2"], **body)["items"]]


def test_a_list_holds_what_the_request_chooses(client: AppClient) -> None:
    whole = listed(client, k=30)
    assert len(whole) == 30
    assert listed(client, exclude=whole[:3], k=4) == whole[3:7]
    assert listed(client, only=[*whole[5:2:-1], "new"], k=30) == whole[3:6]
    unseen = [item for item in whole if item not in ("item-1", "item-2")]
    assert listed(client, exclude_seen=True, k=30) == unseen
    assert listed(client, only=whole[:5], exclude=[whole[1]], k=2) == [whole[0], whole[2]]
    assert listed(client, only=[]) == []


def test_no_item_below_the_lowest_score_is_listed(client: AppClient) -> None:
    scored = asked(client, items=["item-1"], k=30)["items"]
    lowest = scored[9]["score"]
    found = asked(client, items=["item-1"], k=30, min_score=lowest)["items"]
    assert [each["item"] for each in found] == [each["item"] for each in scored[:10]]
    nothing = {"version": 3, "fallback": True, "items": []}
    assert asked(client, items=["new"], min_score=0.5) == nothing


def test_the_most_frequent_items_are_chosen_from_too(client: AppClient) -> None:
    found = asked(client, items=["new"], exclude=["item-4"], k=1)
    assert found["fallback"]
    assert [each["item"] for each in found["items"]] == ["item-2"]


def test_a_query_chooses_by_repeated_parameters(client: AppClient) -> None:
    whole = client.get("/recommend?session=a&k=3").json()["items"]
    first, second = (each["item"] for each in whole[:2])
    query = f"/recommend?session=a&k=1&exclude={first}&exclude={second}"
    assert client.get(query).json()["items"] == whole[2:]
    query = f"/recommend?session=a&only={second}&only={first}"
    assert client.get(query).json()["items"] == whole[:2]


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"exclude": "hat"}, "exclude: expected"),
        ({"only": [1.5]}, "only: expected"),
        ({"exclude_seen": "perhaps"}, "exclude_seen = 'perhaps': expected true or false"),
        ({"min_score": "high"}, "min_score = 'high': expected a number"),
        ({"min_score": True}, "min_score = True: expected a number"),
        ({"exlude": []}, "'exlude': unknown; expected one of items, session, k"),
    ],
)
def test_a_wrong_choice_is_shown_what_was_expected(
    client: AppClient, given: dict[str, Any], named: str
) -> None:
    answer = client.post("/recommend", json={"items": ["item-1"], **given})
    assert (answer.status_code, named in answer.json()["error"]) == (400, True)


def test_a_misspelled_parameter_is_refused(client: AppClient) -> None:
    answer = client.get("/recommend?session=a&K=3")
    assert (answer.status_code, "'K': unknown" in answer.json()["error"]) == (400, True)


def test_a_batch_is_answered_in_its_order(client: AppClient) -> None:
    sessions = [{"items": ["item-1"]}, {"items": ["new"]}, {"items": ["item-2"], "session": "a"}]
    answers = asked(client, "/recommend/batch", sessions=sessions, k=2, exclude=["item-4"])
    alone = [asked(client, k=2, exclude=["item-4"], **session) for session in sessions]
    assert answers == {"answers": alone}
    assert asked(client, "/recommend/batch", sessions=[]) == {"answers": []}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"sessions": [["item-1"]]},
        {"sessions": [{"items": ["x"], "k": 3}]},
        {"sessions": [{"items": []}] * (MAX_SESSIONS + 1)},
    ],
)
def test_a_wrong_batch_is_refused(client: AppClient, body: dict[str, Any]) -> None:
    assert client.post("/recommend/batch", json=body).status_code == 400


def test_similar_items_are_those_with_the_highest_products(
    client: AppClient, version: Version
) -> None:
    found = client.get("/similar", params={"item": "item-3", "k": 5}).json()["items"]
    products = (version.layer @ version.layer[3]).tolist()
    expected = sorted((p, n) for n, p in enumerate(products) if n != 3)[:-6:-1]
    assert [each["item"] for each in found] == [f"item-{n}" for _, n in expected]
    assert [each["score"] for each in found] == pytest.approx([p for p, _ in expected])
    assert len(client.get("/similar?item=item-3&k=1000").json()["items"]) == 29


@pytest.mark.parametrize(
    ("query", "status"), [("item=new", 404), ("", 400), ("item=item-3&k=0", 400), ("i=1", 400)]
)
def test_what_is_similar_to_nothing_is_said(client: AppClient, query: str, status: int) -> None:
    assert client.get(f"/similar?{query}").status_code == status


class WaitingVersion:
    """A version that ranks only once it is allowed to."""

    def __init__(self) -> None:
        self.begun, self.allowed = threading.Semaphore(0), threading.Event()

    @property
    def vocabulary(self) -> None:
        self.begun.release()
        self.allowed.wait(20)
        raise RuntimeError("no vocabulary")


def test_a_worker_that_is_busy_refuses_at_once_and_answers_again(
    registry: CollectorRegistry,
) -> None:
    versions, waiting = LoadedVersions(pytest.fail), WaitingVersion()
    versions.served = cast("Any", waiting)
    metrics = Metrics(registry)
    routes = RecommendRoutes(versions, OPEN_SESSIONS.get, 20, metrics, max_requests=2)
    client = AppClient(make_app(metrics, lambda: "", routes.routes()))
    with ThreadPoolExecutor() as pool:
        others = pool.submit(client.together, ["/recommend?session=a"] * 3)
        for _ in range(2):
            assert waiting.begun.acquire(timeout=20)
        while requests_with(registry, 503) is None:
            time.sleep(0.01)
        waiting.allowed.set()
        statuses = sorted(answer.status_code for answer in others.result())
    assert statuses == [500, 500, 503]
    assert client.get("/recommend?session=a").status_code == 500  # no longer busy


def test_a_request_that_its_caller_gave_up_is_refused(
    client: AppClient, registry: CollectorRegistry
) -> None:
    late = {"x-request-timeout-ms": "0"}
    answer = client.get("/recommend?session=a", headers=late)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert requests_with(registry, 503) == 1
    for patience in ("60000", "soon", ""):
        headers = {"x-request-timeout-ms": patience}
        assert client.get("/recommend?session=a", headers=headers).status_code == 200


def test_a_body_that_does_not_arrive_is_given_up(
    client: AppClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "BODY_SECONDS", 0.05)

    async def slow() -> AsyncIterator[bytes]:
        yield b'{"items": '
        await asyncio.sleep(1)
        yield b"[]}"

    answer = client.post("/recommend", content=slow())
    assert (answer.status_code, "has not arrived" in answer.json()["error"]) == (408, True)
