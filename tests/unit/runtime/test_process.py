from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import ClassVar

import httpx
import pytest

from ader_stream.runtime import process
from ader_stream.runtime.process import STOP_SECONDS, Process
from ader_stream.settings import load_settings


class LastResort:
    """A timer that ends nothing."""

    started: ClassVar[list[float]] = []

    def __init__(self, seconds: float, function: object, args: object) -> None:
        self._seconds = seconds
        self.daemon = False

    def start(self) -> None:
        assert self.daemon
        self.started.append(self._seconds)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Leave the handlers of signals as they were."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_worker_that_stops_is_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process.threading, "Timer", LastResort)
    settings = load_settings(http={"host": "127.0.0.1", "port": 0, "advertised": ""})
    with Process("monitor", settings) as worker:
        worker.not_ready = str
        worker.serve()
        ready = f"http://{worker.address}/readyz"
        assert httpx.get(ready).status_code == 200
        os.kill(os.getpid(), signal.SIGTERM)
        assert worker.should_stop()
        answer = httpx.get(ready)
        assert (answer.status_code, answer.text) == (503, "stopping\n")
        assert httpx.get(f"http://{worker.address}/healthz").status_code == 200
    assert LastResort.started == [STOP_SECONDS]
