"""What the page shows of a Prometheus that answers oddly, or not at all."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from ader_stream.errors import PrometheusError
from ader_stream.monitor.page.alerts import Prometheus, alerts_json


@contextmanager
def answering(body: bytes, status: int = 200) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def test_without_a_prometheus_the_page_says_which_setting_is_missing() -> None:
    assert alerts_json(None) == {
        "alerts": None,
        "reason": "set monitor.prometheus to show alerts here",
    }


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "http://127.0.0.1:1/", "http://[bad", "http://"]
)
def test_a_prometheus_that_is_away_is_named(url: str) -> None:
    with pytest.raises(PrometheusError, match="does not answer at http:"):
        Prometheus(url, "shop").alerts()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 200),
        (b"<html>a login</html>", 200),
        (b"[]", 200),
        (b'{"status": "error"}', 200),
        (b'{"data": 3}', 200),
        (b'{"data": {"groups": 1, "result": []}}', 200),
        (b'{"data": {"groups": [{"rules": [{}]}], "result": []}}', 200),
        (b'{"data": {"groups": [], "result": [{"metric": {"alertname": 1}}]}}', 200),
        (b'{"data": {"groups": [], "result": [{"metric": {"alertname": "AderA"}}]}}', 200),
        (b"{}", 503),
    ],
)
def test_what_is_no_prometheus_is_named(body: bytes, status: int) -> None:
    with answering(body, status) as url, pytest.raises(PrometheusError, match=url):
        Prometheus(url, "shop").alerts()
