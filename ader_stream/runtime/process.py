"""Parts of every worker process: logs, metrics over HTTP, and a clean end at SIGTERM."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from types import FrameType

import structlog
from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from starlette.routing import BaseRoute

from ader_stream import metrics as m
from ader_stream.errors import InputError
from ader_stream.metrics import Metrics
from ader_stream.runtime.code_version import describe_build
from ader_stream.runtime.exit_codes import exit_code
from ader_stream.runtime.http import HttpServer, make_app
from ader_stream.runtime.logs import configure_logs
from ader_stream.runtime.tracing.spans import NO_TRACING, Tracing
from ader_stream.settings import Settings, load_settings
from ader_stream.stream.exactly_once.commit_health import CommitHealth
from ader_stream.stream.kafka.clients import client_errors

log = structlog.get_logger(__name__)

STOP_SECONDS = 9.0
"""A worker stops within 10 s of SIGTERM; the next one repeats what is not committed by then."""


class Process:
    """One worker process: its metrics, its HTTP server, and the request to stop.

    Use it as a context manager around the worker's loop. The worker may replace `not_ready`, and
    reports its commits to `commits`.
    """

    def __init__(self, name: str, settings: Settings) -> None:
        configure_logs(settings.log.format, settings.log.level, worker=name)
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self.name = name
        self.metrics = Metrics(registry)
        self.metrics[m.CLOCK].set_function(time.time)
        self.not_ready: Callable[[], str] = lambda: "starting"
        self.commits = self._watched_commits(settings)
        self.metrics[m.BUILD].labels(**describe_build()).set(1)
        self.metrics[m.SETTINGS].labels(**settings.described).set(1)
        self.tracing = _tracing(settings.tracing.endpoint, name)
        self._settings = settings.http
        self._stopping = threading.Event()
        self._signal: str | None = None
        self._server: HttpServer | None = None

    def should_stop(self) -> bool:
        """Return whether SIGTERM or SIGINT was received."""
        return self._stopping.is_set()

    @property
    def address(self) -> str:
        """Return the host:port at which other processes reach this worker."""
        port = self._server.port if self._server else self._settings.port
        is_wildcard = self._settings.host in ("0.0.0.0", "::")  # noqa: S104 - compared, not bound
        host = socket.gethostname() if is_wildcard else self._settings.host
        return self._settings.advertised or f"{host}:{port}"

    def serve(self, routes: Sequence[BaseRoute] = ()) -> None:
        """Start to answer HTTP."""
        app = make_app(self.metrics, self._why_not_ready, routes, self._why_not_healthy)
        self._server = HttpServer(app, self._settings.host, self._settings.port)
        self._server.start()
        log.info("serving http", address=self.address)

    def _why_not_ready(self) -> str:
        return "stopping" if self.should_stop() else self.not_ready()

    def _why_not_healthy(self) -> str:
        return self.commits.not_healthy(self._settings.unhealthy_after / 1000)

    def _watched_commits(self, settings: Settings) -> CommitHealth:
        """Return the health of commits, which metrics show."""
        failures, aborts = self.metrics[m.COMMIT_FAILURES], self.metrics[m.TRANSACTION_ABORTS]
        commits = CommitHealth(
            settings.kafka.transaction_timeout / 1000,
            on_failure=lambda error: failures.labels(reason=error).inc(),
            on_abort=lambda error: aborts.labels(reason=error).inc(),
        )
        self.metrics[m.LAST_COMMIT].set_function(lambda: commits.last_commit)
        self.metrics[m.UNCOMMITTED].set_function(lambda: commits.waiting_seconds)
        return commits

    def __enter__(self) -> Process:
        for signal_ in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signal_, self._stop)
        return self

    def __exit__(self, *_: object) -> None:
        if self._server:
            self._server.stop()
        self.tracing.close()
        log.info("stopped", signal=self._signal)

    def _stop(self, signal_: int, _: FrameType | None) -> None:
        # No log line here: the signal may arrive while another line is written, which holds a lock.
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._signal = signal.Signals(signal_).name
        last_resort = threading.Timer(STOP_SECONDS, os._exit, args=(1,))
        last_resort.daemon = True
        last_resort.start()


def _tracing(endpoint: str, name: str) -> Tracing:
    if not endpoint:
        return NO_TRACING
    try:
        from ader_stream.runtime.tracing.otlp import OtlpTracing  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise InputError(
            f"tracing.endpoint = {endpoint}: needs {error.name}; pip install 'ader-stream[tracing]'"
        ) from None
    return OtlpTracing(endpoint, name)


def run_worker(run: Callable[[Settings], None]) -> None:
    """Run a worker as this process, with the settings of file and environment, and exit."""

    def work() -> None:
        with client_errors():
            run(load_settings())

    sys.exit(exit_code(work))
