"""``/status`` and ``/events``: the status as JSON, and again whenever it changes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

from ader_stream.monitor.status.whole import StatusBoard

LOOK_SECONDS = 0.25
"""Between two looks for a change."""

ALIVE_SECONDS = 15.0
"""After this long without a change, a comment keeps proxies from closing the connection."""


class StatusRoutes:
    """Answers with the status.

    Parameters
    ----------
    should_stop
        Returns whether the worker ends: streams of events end, too.
    """

    def __init__(self, board: StatusBoard, should_stop: Callable[[], bool]) -> None:
        self._board = board
        self._should_stop = should_stop

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [Route("/status", self._status), Route("/events", self._events)]

    async def _status(self, _: Request) -> JSONResponse:
        """Return the whole status as JSON."""
        return JSONResponse(self._board.json)

    async def _events(self, _: Request) -> StreamingResponse:
        """Send the status as a server-sent event, now and whenever it changes."""
        headers = {"cache-control": "no-store"}
        return StreamingResponse(self.events(), headers=headers, media_type="text/event-stream")

    async def events(self) -> AsyncIterator[str]:
        """Yield an event for the present status and for each change, until the worker ends."""
        seen, silent = -1, 0.0
        while not self._should_stop():
            if seen != self._board.changes:
                seen, silent = self._board.changes, 0.0
                yield f"id: {seen}\ndata: {json.dumps(self._board.json)}\n\n"
            elif silent >= ALIVE_SECONDS:
                silent = 0.0
                yield ": no change\n\n"
            await asyncio.sleep(LOOK_SECONDS)
            silent += LOOK_SECONDS
