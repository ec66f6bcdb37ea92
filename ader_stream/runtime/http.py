"""HTTP of a worker: health, readiness, metrics, and the worker's own routes."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Sequence

import uvicorn
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from ader_stream.errors import SettingsError
from ader_stream.metrics import Metrics

STOP_SECONDS = 3.0
"""Time that open requests have to finish when the worker stops."""


def make_app(
    metrics: Metrics,
    not_ready: Callable[[], str],
    routes: Sequence[BaseRoute] = (),
    not_healthy: Callable[[], str] = lambda: "",
) -> Starlette:
    """Build the ASGI application of a worker.

    Parameters
    ----------
    not_ready
        Returns why the worker is not ready yet; empty when it is.
    routes
        Routes in addition to ``/healthz``, ``/readyz`` and ``/metrics``.
    not_healthy
        Returns why the worker should be restarted; empty while it is healthy.
    """

    async def healthz(_: Request) -> Response:
        """Return 200, or 503 and the reason while the worker should be restarted."""
        return _answer(not_healthy(), "ok")

    async def readyz(_: Request) -> Response:
        """Return 200, or 503 and the reason while the worker is not ready."""
        return _answer(not_ready(), "ready")

    async def show_metrics(request: Request) -> Response:
        """Return the metrics, as Prometheus or OpenMetrics text."""
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(metrics.registry), headers={"content-type": content_type})

    return Starlette(
        routes=[
            Route("/healthz", healthz),
            Route("/readyz", readyz),
            Route("/metrics", show_metrics),
            *routes,
        ]
    )


def _answer(reason: str, otherwise: str) -> Response:
    return PlainTextResponse(f"{reason or otherwise}\n", status_code=503 if reason else 200)


class HttpServer:
    """Serves an application from its own thread, parallel to the worker's loop.

    Raises
    ------
    SettingsError
        If the port is taken or the address is not this machine's.
    """

    def __init__(self, app: Starlette, host: str, port: int) -> None:
        self._socket = _bind(host, port)
        self.port: int = self._socket.getsockname()[1]
        config = uvicorn.Config(
            app, log_level="error", access_log=False, timeout_graceful_shutdown=int(STOP_SECONDS)
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name="http", daemon=True
        )

    def start(self) -> None:
        """Start to answer requests."""
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            time.sleep(0.01)

    def stop(self) -> None:
        """Accept no new request, finish the open ones, and return."""
        self._server.should_exit = True
        self._thread.join(STOP_SECONDS + 1)
        self._socket.close()


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sets TCP_NODELAY only on sockets that name their protocol. Without it, the body of an
    # answer waits for the client's delayed acknowledgement of its headers: 40 ms and more.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen()  # with SO_REUSEADDR, binding alone does not show that a port is taken
    except OSError as error:
        listening.close()
        raise SettingsError(
            f"http.host:port = {host}:{port}: {error.strerror}; choose another http.port, or 0 for "
            "any free one"
        ) from None
    return listening
