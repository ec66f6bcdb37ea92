"""A schema registry for tests: a real HTTP server that speaks the paths of the REST API."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from ader_stream.local_kafka.ports import HOST, free_port
from ader_stream.runtime.http import HttpServer

CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"


@dataclass
class Registry:
    """Schemas that were registered, and a server that can be taken away and brought back.

    Parameters
    ----------
    schemas
        By id, each as the registry's answer has it.
    authorization
        What a request's header must be, if anything.
    status
        With which every request is answered; 200 for what the registry has to say.
    body
        With which every request is answered, if anything.
    broken
        Id → status with which it alone is answered.
    deleted
        Subjects that were deleted: their versions are told to those who ask for deleted ones.
    may_answer
        Requests wait until this is set.
    requests
        Path of each request that has come.
    """

    schemas: dict[int, dict[str, Any]] = field(default_factory=dict)
    versions: dict[str, list[int]] = field(default_factory=dict)
    authorization: str = ""
    status: int = 200
    body: str | None = None
    deleted: set[str] = field(default_factory=set)
    broken: dict[int, int] = field(default_factory=dict)
    may_answer: threading.Event = field(default_factory=threading.Event)
    port: int = field(default_factory=free_port)
    requests: list[str] = field(default_factory=list)
    _server: HttpServer | None = None

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def register(self, subject: str, schema: Any, **answer: Any) -> int:
        """Register a schema under a subject, and return its id."""
        id_ = len(self.schemas) + 1
        text = schema if isinstance(schema, str) else json.dumps(schema)
        self.schemas[id_] = {"schema": text} | answer
        self.versions.setdefault(subject, []).append(id_)
        return id_

    def require_basic(self, user: str, password: str) -> None:
        credentials = base64.b64encode(f"{user}:{password}".encode()).decode()
        self.authorization = f"Basic {credentials}"

    def start(self) -> None:
        paths = {
            "/schemas/ids/{id:int}": self._schema,
            "/subjects/{subject}/versions/{version:int}": self._version,
        }
        routes = [Route(path, answer) for path, answer in paths.items()]
        routes.append(Route("/subjects/{subject}/versions", self._register, methods=["POST"]))
        app = Starlette(routes=routes)
        self._server = HttpServer(app, HOST, self.port)
        self._server.start()

    def stop(self) -> None:
        self.may_answer.set()
        if self._server:
            self._server.stop()
            self._server = None

    async def _schema(self, request: Request) -> Response:
        id_ = request.path_params["id"]
        if status := self.broken.get(id_):
            self.requests.append(request.url.path)
            return error(status, status * 100 + 1, "no")
        found = self.schemas.get(id_)
        return await self._answer(request, found, 40403, "Schema not found")

    async def _version(self, request: Request) -> Response:
        subject, version = request.path_params["subject"], request.path_params["version"]
        ids = self.versions.get(subject, [])
        if subject in self.deleted and request.query_params.get("deleted") != "true":
            return await self._answer(request, None, 40401, "Subject not found.")
        if version > len(ids):
            return await self._answer(request, None, 40402, "Version not found.")
        id_ = ids[version - 1]
        where = {"subject": subject, "version": version, "id": id_}
        return await self._answer(request, self.schemas[id_] | where, 0, "")

    async def _register(self, request: Request) -> Response:
        subject, schema = request.path_params["subject"], (await request.json())["schema"]
        known = [id_ for id_, found in self.schemas.items() if found["schema"] == schema]
        id_ = known[0] if known else self.register(subject, schema)
        return await self._answer(request, {"id": id_}, 0, "")

    async def _answer(
        self, request: Request, found: dict[str, Any] | None, code: int, message: str
    ) -> Response:
        self.requests.append(request.url.path)
        await asyncio.to_thread(self.may_answer.wait)
        if self.authorization != request.headers.get("authorization", ""):
            return error(401, 401, "Unauthorized")
        if self.body is not None:
            return PlainTextResponse(self.body, self.status)
        if self.status != 200:
            return PlainTextResponse("<html>a proxy's page</html>", self.status)
        if found is None:
            return error(404, code, message)
        return JSONResponse(found, media_type=CONTENT_TYPE)


def error(status: int, code: int, message: str) -> Response:
    body = {"error_code": code, "message": message}
    return JSONResponse(body, status, media_type=CONTENT_TYPE)


@contextmanager
def running_registry() -> Iterator[Registry]:
    registry = Registry()
    registry.may_answer.set()
    registry.start()
    try:
        yield registry
    finally:
        registry.stop()
