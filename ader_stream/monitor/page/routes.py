"""``/``: the live page, its files, and recommendations asked of an inference worker for it."""

from __future__ import annotations

import http.client
import mimetypes
from collections.abc import Callable, Sequence
from importlib.resources import files

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ader_stream.errors import PrometheusError
from ader_stream.monitor.page.alerts import Prometheus, alerts_json

STATIC = files(__package__) / "static"

HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'",
    "cache-control": "no-cache",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
"""The page loads nothing from elsewhere, and nothing else may put it in a frame."""

MOST_BYTES = 100_000
"""Most bytes of a session that is tried."""

ANSWER_SECONDS = 5.0


class PageRoutes:
    """Answers with the page's files, and forwards the session that is tried there.

    Parameters
    ----------
    addresses
        Returns the host:port of each inference worker that serves a version.
    prometheus
        Whose alerts are shown, if any.
    """

    def __init__(
        self, addresses: Callable[[], Sequence[str]], prometheus: Prometheus | None = None
    ) -> None:
        self._addresses = addresses
        self._prometheus = prometheus
        self._files = {
            entry.name: entry.read_bytes() for entry in STATIC.iterdir() if entry.is_file()
        }

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/", self._page),
            Route("/page/{name}", self._file),
            Route("/alerts", self._alerts),
            Route("/recommend", self._recommend, methods=["POST"]),
        ]

    async def _page(self, _: Request) -> Response:
        """Return the live page."""
        return self._answer("index.html")

    async def _file(self, request: Request) -> Response:
        """Return a file of the live page."""
        name = request.path_params["name"]
        if name not in self._files:
            return JSONResponse({"error": f"{name!r:.80}: no such file"}, status_code=404)
        return self._answer(name)

    def _answer(self, name: str) -> Response:
        kind = mimetypes.guess_type(name)[0] or "text/plain"
        return Response(self._files[name], headers=HEADERS, media_type=kind)

    async def _alerts(self, _: Request) -> Response:
        """Return the alerts of the last day as JSON, as the Prometheus of the settings has them."""
        try:
            return JSONResponse(await run_in_threadpool(alerts_json, self._prometheus))
        except PrometheusError as error:
            return _error(502, str(error))

    async def _recommend(self, request: Request) -> Response:
        """Return what an inference worker recommends: `{"items": [ITEM, …], "k": 20}`."""
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > MOST_BYTES:
                return _error(413, f"body: expected at most {MOST_BYTES} bytes")
        return await run_in_threadpool(self._asked, bytes(body))

    def _asked(self, body: bytes) -> Response:
        """Return the answer of the first worker that can be reached."""
        reason = "no inference worker serves a version yet; try again later"
        for address in self._addresses():
            try:
                return _forward(address, body)
            except (OSError, http.client.HTTPException) as error:
                reason = f"{address}: {error or type(error).__name__}; the monitor cannot reach it"
        return _error(503, reason)


def _forward(address: str, body: bytes) -> Response:
    """Send a request to an inference worker and return its answer."""
    connection = http.client.HTTPConnection(address, timeout=ANSWER_SECONDS)
    try:
        connection.request("POST", "/recommend", body, {"content-type": "application/json"})
        answer = connection.getresponse()
        return Response(answer.read(), answer.status, media_type="application/json")
    finally:
        connection.close()


def _error(status: int, text: str) -> JSONResponse:
    return JSONResponse({"error": text}, status_code=status)
