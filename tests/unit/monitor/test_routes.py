"""``/status`` and ``/events``."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace

import pytest
from prometheus_client import CollectorRegistry

from ader_stream.metrics import Metrics
from ader_stream.monitor.status import routes
from ader_stream.monitor.status.routes import StatusRoutes
from ader_stream.monitor.status.whole import StatusBoard
from ader_stream.runtime.http import make_app
from tests.unit.serve.app_client import AppClient


def test_the_status_is_json() -> None:
    board = StatusBoard(lambda: 5.0)
    app = make_app(Metrics(CollectorRegistry()), str, StatusRoutes(board, bool).routes())
    answer = AppClient(app).get("/status")
    assert answer.json()["state"] == "starting"
    assert answer.json()["changed_at"] == 5.0


def test_events_come_at_once_and_with_every_change_until_the_worker_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(routes, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(routes, "ALIVE_SECONDS", 0.0)
    board, events = StatusBoard(), list[str]()

    async def listen() -> None:
        async for event in StatusRoutes(board, lambda: len(events) >= 4).events():
            events.append(event)
            if len(events) == 2:
                board.show(SimpleNamespace(as_json=lambda: {"state": "showing"}))

    asyncio.run(listen())
    first, silence, second, _ = events
    assert first.startswith("id: 0\ndata: {")
    assert first.endswith("}\n\n")
    assert silence == ": no change\n\n"
    assert json.loads(second.partition("data: ")[2])["state"] == "showing"
