"""``/recommend``: top-k for a session that this worker follows, or for a list of items."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from ader_stream import metrics as m
from ader_stream.errors import InputError
from ader_stream.metrics import Metrics
from ader_stream.runtime.tracing import HEADER, NO_TRACING, Tracing, sampled, trace_of
from ader_stream.serve.click_weights import click_weights
from ader_stream.serve.loaded_versions import LoadedVersions, Version
from ader_stream.serve.recommending import recommend

log = structlog.get_logger(__name__)

PATH = "/recommend"

MAX_K = 1_000
MAX_ITEMS = 10_000
"""Most items of a request: far more than a model uses."""

MAX_BODY = 1_000_000
"""Most bytes of a request: several times what `MAX_ITEMS` ordinary item ids need."""


@dataclass(frozen=True)
class Wish:
    """What a request asks for.

    Parameters
    ----------
    k
        Number of items.
    key
        Key of the session, where the request has one: a canary depends on it.
    reasons
        Whether the answer says which clicks have led to each item.
    """

    k: int
    key: str | None
    reasons: bool


class RecommendRoutes:
    """Answers recommendation requests.

    Parameters
    ----------
    versions
        The served version answers.
    items_of
        Returns the items of an open session by its key; None if this worker does not have it.
    k
        Number of items in a recommendation if the request has no `k`.
    tracing
        Records the requests whose callers ask for it.
    """

    def __init__(
        self,
        versions: LoadedVersions,
        items_of: Callable[[str], Sequence[str] | None],
        k: int,
        metrics: Metrics,
        tracing: Tracing = NO_TRACING,
    ) -> None:
        self._versions = versions
        self._items_of = items_of
        self._k = k
        self._metrics = metrics
        self._tracing = tracing

    def routes(self) -> list[Route]:
        """Return the routes for GET and POST."""
        return [
            Route(PATH, self._get, methods=["GET"]),
            Route(PATH, self._post, methods=["POST"]),
        ]

    async def _get(self, request: Request) -> JSONResponse:
        """Recommend for a session that this worker follows: `?session=KEY&k=20&reasons=true`."""
        return await self._measured(request, self._for_session(request), time.perf_counter())

    async def _post(self, request: Request) -> JSONResponse:
        """Recommend for a list of items: `{"items": [ITEM, …], "k": 20, "session": KEY}`."""
        arrived = time.perf_counter()
        return await self._measured(request, self._for_items(await _body(request)), arrived)

    def _for_session(self, request: Request) -> Callable[[], JSONResponse]:
        def answer() -> JSONResponse:
            key = request.query_params.get("session")
            if not key:
                raise InputError("session: expected the key of a session, ?session=KEY")
            wish = _wish(request.query_params, self._k, key)
            items = self._items_of(key)
            if items is None:
                return _error(
                    404,
                    f"session {key!r} is not open on this worker; ask the worker that has its "
                    "partition, or POST its items",
                )
            return self._recommend(items, wish)

        return answer

    def _for_items(self, body: bytes) -> Callable[[], JSONResponse]:
        def answer() -> JSONResponse:
            return self._recommend(*_parse(body, self._k))

        return answer

    def _recommend(self, items: Sequence[str], wish: Wish) -> JSONResponse:
        version = self._versions.for_key(wish.key)
        if version is None:
            return _error(503, "no version has been published yet; try again later")
        [found] = recommend(version, [items], wish.k)
        self._tracing.note(version=found.version, fallback=found.fallback, clicks=len(items))
        if found.fallback:
            self._metrics[m.FALLBACKS].inc()
        ranked: list[dict[str, Any]] = [
            {"item": item, "score": score} for item, score in found.items
        ]
        if wish.reasons:
            _add_reasons(ranked, version, items)
        return JSONResponse({"version": found.version, "fallback": found.fallback, "items": ranked})

    async def _measured(
        self, request: Request, answer: Callable[[], JSONResponse], arrived: float
    ) -> JSONResponse:
        """Answer in a thread, because ranking must not block the event loop."""
        caller = sampled(request.headers.get(HEADER, ""))
        tracing = self._tracing if caller else NO_TRACING
        try:
            with tracing.span("recommend", parent=caller):
                response = await run_in_threadpool(self._begin, answer, arrived)
        except InputError as error:
            response = _error(400, str(error))
        except Exception:
            log.exception("request failed", path=PATH)
            response = _error(500, "the worker could not answer; see its log")
        elapsed, trace = time.perf_counter() - arrived, trace_of(request.headers)
        self._metrics[m.REQUEST_SECONDS].labels(path=PATH).observe(elapsed, trace)
        self._metrics[m.REQUESTS].labels(path=PATH, status=response.status_code).inc()
        return response

    def _begin(self, answer: Callable[[], JSONResponse], arrived: float) -> JSONResponse:
        """Answer, and show how long the request has waited for that."""
        waited = time.perf_counter() - arrived
        self._metrics[m.REQUEST_QUEUE_SECONDS].labels(path=PATH).observe(waited)
        return answer()


async def _body(request: Request) -> bytes:
    """Read the body; stop when it is too large."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            break
    return bytes(body)


def _add_reasons(ranked: Sequence[dict[str, Any]], version: Version, items: Sequence[str]) -> None:
    """Add to each item of an answer the clicks that have led to it."""
    weights = click_weights(version, items, [each["item"] for each in ranked])
    for each, clicks in zip(ranked, weights, strict=True):
        each["reasons"] = [click._asdict() for click in clicks]


def _parse(body: bytes, default_k: int) -> tuple[list[str], Wish]:
    """Return the items and what is asked for."""
    if len(body) > MAX_BODY:
        raise InputError(f"body: expected at most {MAX_BODY} bytes")
    try:
        request = json.loads(body)
    except (ValueError, RecursionError):
        request = None
    if not isinstance(request, dict) or not isinstance(request.get("items"), list):
        raise InputError('body: expected JSON {"items": [ITEM, …], "k": 20}')
    items = request["items"]
    if len(items) > MAX_ITEMS or not all(type(item) in (str, int) for item in items):
        raise InputError(f"items: expected at most {MAX_ITEMS} texts or whole numbers")
    key = request.get("session")
    if not isinstance(key, str | None):
        raise InputError(f"session = {key!r:.50}: expected a text, the key of the session")
    return [str(item) for item in items], _wish(request, default_k, key)


def _wish(request: Mapping[str, object], default_k: int, key: str | None) -> Wish:
    """Read what GET and POST name alike."""
    k = _checked_k(request.get("k", default_k))
    return Wish(k, key, _checked_flag("reasons", request.get("reasons", False)))


def _checked_flag(name: str, value: object) -> bool:
    flags = {"true": True, "1": True, "false": False, "0": False}
    flag = flags.get(str(value).lower())
    if flag is None:
        raise InputError(f"{name} = {value!r:.50}: expected true or false")
    return flag


def _checked_k(value: object) -> int:
    try:
        k = int(str(value))
    except ValueError:
        k = 0
    if not 1 <= k <= MAX_K:
        raise InputError(f"k = {value!r:.50}: expected a whole number from 1 to {MAX_K}")
    return k


def _error(status: int, text: str) -> JSONResponse:
    return JSONResponse({"error": text}, status_code=status)
