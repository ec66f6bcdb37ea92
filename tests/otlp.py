"""A collector of OTLP over HTTP for tests."""

from __future__ import annotations

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Collector:
    """Keeps the spans that it is sent, while its context lasts.

    Attributes
    ----------
    spans
        As OTLP has them.
    services
        Names of the services that have sent them.
    """

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.services: set[str] = set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever)

    @property
    def endpoint(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._server.server_port}/v1/traces"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def named(self, name: str) -> list[Any]:
        """Return the spans of a name."""
        return [span for span in [*self.spans] if span.name == name]

    @staticmethod
    def attributes(span: Any) -> dict[str, Any]:
        """Return the attributes of a span."""
        return {
            pair.key: getattr(pair.value, pair.value.WhichOneof("value"))
            for pair in span.attributes
        }

    def take(self, body: bytes) -> None:
        """Keep what a request holds."""
        request = ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            named = {pair.key: pair.value.string_value for pair in resource.resource.attributes}
            self.services.add(named["service.name"])
            for scope in resource.scope_spans:
                self.spans.extend(scope.spans)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                is_packed = self.headers.get("content-encoding") == "gzip"
                collector.take(gzip.decompress(body) if is_packed else body)
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        return Handler
