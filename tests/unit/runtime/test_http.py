from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from ader_stream import metrics as m
from ader_stream.errors import SettingsError
from ader_stream.metrics import Metrics
from ader_stream.runtime.http import HttpServer, make_app
from tests.unit.serve.app_client import AppClient

HOST = "127.0.0.1"

DELAYED_ACK_SECONDS = 0.04
"""Linux' shortest (TCP_DELACK_MIN); elsewhere it is longer."""


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(CollectorRegistry())


@contextmanager
def serving(server: HttpServer) -> Iterator[HTTPConnection]:
    server.start()
    connection = HTTPConnection(HOST, server.port, timeout=10)
    try:
        yield connection
    finally:
        connection.close()
        server.stop()


def status(connection: HTTPConnection, path: str) -> int:
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    return answer.status


def seconds_of(connection: HTTPConnection, path: str) -> float:
    began = time.perf_counter()
    status(connection, path)
    return time.perf_counter() - began


def test_a_worker_is_healthy_while_it_answers(metrics: Metrics) -> None:
    answer = AppClient(make_app(metrics, lambda: "starting")).get("/healthz")
    assert (answer.status_code, answer.text) == (200, "ok\n")


def test_a_worker_says_why_it_is_not_ready(metrics: Metrics) -> None:
    reasons = ["waiting for the group", ""]
    client = AppClient(make_app(metrics, lambda: reasons[0]))
    assert client.get("/readyz").status_code == 503
    assert client.get("/readyz").text == "waiting for the group\n"
    reasons.pop(0)
    assert (client.get("/readyz").status_code, client.get("/readyz").text) == (200, "ready\n")


def test_metrics_can_be_scraped(metrics: Metrics) -> None:
    metrics[m.CLICKS].labels(partition=3).inc(5)
    answer = AppClient(make_app(metrics, lambda: "")).get("/metrics")
    samples = [s for family in text_string_to_metric_families(answer.text) for s in family.samples]
    assert answer.headers["content-type"].startswith("text/plain")
    assert ("ader_clicks_total", {"partition": "3"}, 5) in [
        (s.name, s.labels, s.value) for s in samples
    ]


def test_metrics_come_as_openmetrics_where_that_is_asked_for(metrics: Metrics) -> None:
    client = AppClient(make_app(metrics, lambda: ""))
    answer = client.get("/metrics", headers={"accept": "application/openmetrics-text"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


def test_a_worker_may_answer_more(metrics: Metrics) -> None:
    route = Route("/hello", lambda _: PlainTextResponse("hello"))
    assert AppClient(make_app(metrics, lambda: "", [route])).get("/hello").text == "hello"


def test_a_server_answers_from_any_free_port_until_it_is_stopped(metrics: Metrics) -> None:
    server = HttpServer(make_app(metrics, lambda: ""), HOST, 0)
    with serving(server) as connection:
        assert status(connection, "/healthz") == 200
        assert status(connection, "/nothing") == 404
    with pytest.raises(ConnectionError):
        status(connection, "/healthz")


def test_a_port_that_is_taken_is_named(metrics: Metrics) -> None:
    app = make_app(metrics, lambda: "")
    server = HttpServer(app, HOST, 0)
    with (
        serving(server),
        pytest.raises(SettingsError, match=rf"{HOST}:{server.port}: .*choose another http\.port"),
    ):
        HttpServer(app, HOST, server.port)


def test_a_port_is_taken_before_the_first_answer(metrics: Metrics) -> None:
    """Two workers that start at the same moment: one of them must hear of it."""
    app = make_app(metrics, lambda: "")
    first = HttpServer(app, HOST, 0)
    with closing(first._socket), pytest.raises(SettingsError):
        HttpServer(app, HOST, first.port)


def test_an_address_of_another_machine_is_named(metrics: Metrics) -> None:
    with pytest.raises(SettingsError, match=r"http\.host:port = 192\.0\.2\.1:"):
        HttpServer(make_app(metrics, lambda: ""), "192.0.2.1", 0)


def test_a_port_can_be_bound_again_after_the_stop(metrics: Metrics) -> None:
    app = make_app(metrics, lambda: "")
    first = HttpServer(app, HOST, 0)
    with serving(first) as connection:
        assert status(connection, "/healthz") == 200
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind((HOST, first.port))


def test_answers_do_not_wait_for_the_clients_acknowledgements(metrics: Metrics) -> None:
    server = HttpServer(make_app(metrics, lambda: ""), HOST, 0)
    with serving(server) as connection:
        assert status(connection, "/healthz") == 200
        [accepted] = server._server.server_state.connections
        kept = accepted.transport.get_extra_info("socket")
        assert kept.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_the_client_of_a_kept_connection_waits_less_than_a_delayed_acknowledgement(
    metrics: Metrics,
) -> None:
    """Without TCP_NODELAY every answer waits, so the fastest of many shows it on any machine."""
    server = HttpServer(make_app(metrics, lambda: ""), HOST, 0)
    with serving(server) as connection:
        for _ in range(20):  # at first the kernel acknowledges at once
            status(connection, "/healthz")
        assert min(seconds_of(connection, "/healthz") for _ in range(20)) < DELAYED_ACK_SECONDS
