"""The live page: its files, and sessions that are tried there."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Iterator, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from prometheus_client import CollectorRegistry

from ader_stream.metrics import Metrics
from ader_stream.monitor.page.alerts import Prometheus
from ader_stream.monitor.page.routes import MOST_BYTES, PageRoutes
from ader_stream.runtime.http import make_app
from tests.unit.serve.app_client import AppClient


def client(*addresses: str) -> AppClient:
    page = PageRoutes(lambda: addresses)
    return AppClient(make_app(Metrics(CollectorRegistry()), str, page.routes()))


class Echo(BaseHTTPRequestHandler):
    """Answers with what it was sent, as an inference worker that refuses it."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.send_response(400)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def worker() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def test_every_file_that_the_page_names_is_there_and_comes_from_here() -> None:
    page = client().get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    named = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    own = [name for name in named if name.startswith("page/")]
    assert {*named} - {*own} == {"data:,", "status", "metrics"}
    assert [client().get(f"/{name}").status_code for name in own] == [200] * len(own)


@pytest.mark.parametrize("name", ["nothing.js", "..%2froutes.py", "%00"])
def test_other_files_are_not_given(name: str) -> None:
    assert client().get(f"/page/{name}").status_code == 404


def test_a_session_is_tried_at_the_first_worker_that_answers(worker: str) -> None:
    body = b'{"items": ["hat"]}'
    answer = client(free_address(), worker).request("POST", "/recommend", content=body)
    assert (answer.status_code, answer.content) == (400, body)


@pytest.mark.parametrize(
    ("addresses", "said"), [((), "no inference worker"), (["127.0.0.1:1"], "127.0.0.1:1: ")]
)
def test_without_a_worker_the_reason_is_said(addresses: Sequence[str], said: str) -> None:
    answer = client(*addresses).request("POST", "/recommend", content=b"{}")
    assert (answer.status_code, answer.json()["error"].startswith(said)) == (503, True)


def test_alerts_without_a_prometheus_are_none_and_why() -> None:
    answer = client().get("/alerts")
    assert (answer.status_code, answer.json()["alerts"]) == (200, None)
    assert "monitor.prometheus" in answer.json()["reason"]


def test_a_prometheus_that_is_away_is_said_at_the_page() -> None:
    page = PageRoutes(list, Prometheus("http://127.0.0.1:1", "shop"))
    answer = AppClient(make_app(Metrics(CollectorRegistry()), str, page.routes())).get("/alerts")
    assert (answer.status_code, "127.0.0.1:1" in answer.json()["error"]) == (502, True)


def test_a_session_that_is_too_large_is_not_forwarded(worker: str) -> None:
    answer = client(worker).request("POST", "/recommend", content=b"x" * (MOST_BYTES + 1))
    assert answer.status_code == 413
