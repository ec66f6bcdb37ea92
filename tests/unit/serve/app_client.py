"""Asks an application in this process, without a network."""

from __future__ import annotations

import asyncio
from functools import partialmethod
from typing import Any

import httpx
from starlette.applications import Starlette


class AppClient:
    """Sends one request at a time, each in an event loop of its own."""

    def __init__(self, app: Starlette) -> None:
        self._transport = httpx.ASGITransport(app)

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request and return its answer; what the application raises is raised here."""
        return asyncio.run(self._send(method, path, options))

    get = partialmethod(request, "GET")
    post = partialmethod(request, "POST")

    def together(self, paths: list[str]) -> list[httpx.Response]:
        """GET several paths at the same time, in one event loop, as a server has it."""

        async def all_of_them() -> list[httpx.Response]:
            return await asyncio.gather(*(self._send("GET", path, {}) for path in paths))

        return asyncio.run(all_of_them())

    async def _send(self, method: str, path: str, options: dict[str, Any]) -> httpx.Response:
        async with httpx.AsyncClient(transport=self._transport, base_url="http://worker") as client:
            return await client.request(method, path, **options)
