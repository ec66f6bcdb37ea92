"""``/recommend``: top-k for a session that this worker follows, or for lists of items."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import structlog
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from ader_stream import metrics as m
from ader_stream.errors import InputError
from ader_stream.metrics import Metrics
from ader_stream.runtime.tracing.spans import HEADER, NO_TRACING, Tracing, sampled, trace_of
from ader_stream.serve.admission import Admission, BusyError, check_deadline
from ader_stream.serve.click_weights import click_weights
from ader_stream.serve.loaded_versions import LoadedVersions, Version
from ader_stream.serve.recommending import recommend_chosen, similar
from ader_stream.serve.requests import (
    MAX_BODY,
    Asked,
    Wish,
    checked_k,
    read_batch,
    read_request,
    require_known,
    wish_of_query,
)
from ader_stream.types import Recommendation

log = structlog.get_logger(__name__)

RECOMMEND, BATCH, SIMILAR = "/recommend", "/recommend/batch", "/similar"

BODY_SECONDS = 10.0
"""Time in which a body must arrive: a slow client holds no place of another's request."""

RETRY_SECONDS = 1
"""After which a refused caller may try again."""

TIMEOUT_HEADER = "x-request-timeout-ms"


class _NotServedError(Exception):
    """No version has been published yet."""


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
    max_requests
        Requests that are answered or wait at a time; more are refused.
    tracing
        Records the requests whose callers ask for it.
    """

    def __init__(
        self,
        versions: LoadedVersions,
        items_of: Callable[[str], Sequence[str] | None],
        k: int,
        metrics: Metrics,
        max_requests: int = 64,
        tracing: Tracing = NO_TRACING,
    ) -> None:
        self._versions = versions
        self._items_of = items_of
        self._k = k
        self._metrics = metrics
        self._tracing = tracing
        self._admission = Admission(max_requests)

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route(RECOMMEND, self._get, methods=["GET"]),
            Route(RECOMMEND, self._post, methods=["POST"]),
            Route(BATCH, self._post_batch, methods=["POST"]),
            Route(SIMILAR, self._get_similar, methods=["GET"]),
        ]

    async def _get(self, request: Request) -> JSONResponse:
        """Recommend for a session that this worker follows: `?session=KEY&k=20&reasons=true`."""
        return await self._measured(request, lambda _: self._for_session(request))

    async def _post(self, request: Request) -> JSONResponse:
        """Recommend for a list of items: `{"items": [ITEM, …], "k": 20, "session": KEY}`."""
        return await self._measured(request, self._for_items)

    async def _post_batch(self, request: Request) -> JSONResponse:
        """Recommend for several lists: `{"sessions": [{"items": [ITEM, …]}, …], "k": 20}`."""
        return await self._measured(request, self._for_batch)

    async def _get_similar(self, request: Request) -> JSONResponse:
        """Return the items most similar to one: `?item=ITEM&k=20`."""
        return await self._measured(request, lambda _: self._similar(request))

    def _for_session(self, request: Request) -> JSONResponse:
        query = request.query_params
        key = query.get("session")
        if not key:
            raise InputError("session: expected the key of a session, ?session=KEY")
        wish = wish_of_query(query, self._k)
        items = self._items_of(key)
        if items is None:
            return _error(
                404,
                f"session {key!r} is not open on this worker; ask the worker that has its "
                "partition, or POST its items",
            )
        return JSONResponse(self._answers([Asked([*items], key)], wish)[0])

    def _for_items(self, body: bytes) -> JSONResponse:
        asked, wish = read_request(body, self._k)
        return JSONResponse(self._answers([asked], wish)[0])

    def _for_batch(self, body: bytes) -> JSONResponse:
        return JSONResponse({"answers": self._answers(*read_batch(body, self._k))})

    def _answers(self, sessions: Sequence[Asked], wish: Wish) -> list[dict[str, Any]]:
        """Return the answer for each session, as JSON values.

        The sessions of a version are ranked together: the table is read once for many of them.

        Raises
        ------
        _NotServedError
            If no version serves yet.
        """
        versions = [self._version_for(asked.key) for asked in sessions]
        answers: dict[int, dict[str, Any]] = {}
        for version in dict.fromkeys(versions):
            own = [place for place, other in enumerate(versions) if other is version]
            lists = [sessions[place].items for place in own]
            found = recommend_chosen(version, lists, wish.k, wish.choice)
            for place, items, each in zip(own, lists, found, strict=True):
                answers[place] = self._answer(version, items, each, reasons=wish.reasons)
        return [answers[place] for place in range(len(sessions))]

    def _answer(
        self, version: Version, items: Sequence[str], found: Recommendation, *, reasons: bool
    ) -> dict[str, Any]:
        """Return the answer for one session, as JSON values."""
        self._tracing.note(version=found.version, fallback=found.fallback, clicks=len(items))
        if found.fallback:
            self._metrics[m.FALLBACKS].inc()
        answer = _as_json(found)
        if reasons:
            _add_reasons(answer["items"], version, items)
        return answer

    def _similar(self, request: Request) -> JSONResponse:
        query = request.query_params
        require_known(query, ("item", "k"))
        item, k = query.get("item"), checked_k(query.get("k", self._k))
        if not item:
            raise InputError("item: expected an item, ?item=ITEM")
        version = self._version_for(None)
        found = similar(version, item, k)
        if found is None:
            return _error(404, f"item {item!r:.100} is not known to version {version.number}")
        return JSONResponse(_as_json(found))

    def _version_for(self, key: str | None) -> Version:
        version = self._versions.for_key(key)
        if version is None:
            raise _NotServedError
        return version

    async def _measured(
        self, request: Request, answer: Callable[[bytes], JSONResponse]
    ) -> JSONResponse:
        """Answer, and measure it: from the arrival of the headers on."""
        arrived, path = time.perf_counter(), request.url.path
        caller = sampled(request.headers.get(HEADER, ""))
        tracing = self._tracing if caller else NO_TRACING
        with tracing.span(path.strip("/").replace("/", " "), parent=caller):
            response = await self._answered(self._admitted(request, answer, arrived), path)
        elapsed, trace = time.perf_counter() - arrived, trace_of(request.headers)
        self._metrics[m.REQUEST_SECONDS].labels(path=path).observe(elapsed, trace)
        self._metrics[m.REQUESTS].labels(path=path, status=response.status_code).inc()
        return response

    async def _admitted(
        self, request: Request, answer: Callable[[bytes], JSONResponse], arrived: float
    ) -> JSONResponse:
        """Answer in a thread, because ranking must not block the event loop."""
        body = await asyncio.wait_for(_body(request), BODY_SECONDS)
        timeout_ms = request.headers.get(TIMEOUT_HEADER)

        def begin() -> JSONResponse:
            waited = time.perf_counter() - arrived
            self._metrics[m.REQUEST_QUEUE_SECONDS].labels(path=request.url.path).observe(waited)
            check_deadline(waited, timeout_ms)
            return answer(body)

        with self._admission.admit():
            return await run_in_threadpool(begin)

    async def _answered(self, answer: Awaitable[JSONResponse], path: str) -> JSONResponse:
        """Return an answer, or the error that stands for it."""
        try:
            return await answer
        except InputError as error:
            return _error(400, str(error))
        except _NotServedError:
            return _error(503, "no version has been published yet; try again later")
        except TimeoutError:
            return _error(408, f"the body has not arrived within {BODY_SECONDS:g} s")
        except BusyError as error:
            busy = _error(503, f"{error}; try again in {RETRY_SECONDS} s")
            busy.headers["retry-after"] = str(RETRY_SECONDS)
            return busy
        except Exception:
            log.exception("request failed", path=path)
            return _error(500, "the worker could not answer; see its log")


async def _body(request: Request) -> bytes:
    """Read the body; stop when it is too large."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            break
    return bytes(body)


def _as_json(found: Recommendation) -> dict[str, Any]:
    ranked = [{"item": item, "score": score} for item, score in found.items]
    return {"version": found.version, "fallback": found.fallback, "items": ranked}


def _add_reasons(ranked: Sequence[dict[str, Any]], version: Version, items: Sequence[str]) -> None:
    """Add to each item of an answer the clicks that have led to it."""
    weights = click_weights(version, items, [each["item"] for each in ranked])
    for each, clicks in zip(ranked, weights, strict=True):
        each["reasons"] = [click._asdict() for click in clicks]


def _error(status: int, text: str) -> JSONResponse:
    return JSONResponse({"error": text}, status_code=status)
