"""Get writers' schemas by their id from a schema registry that may be slow, or down for a while."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import structlog

from ader_stream.errors import ClickError, NotYetError, SettingsError
from ader_stream.stream.schema_registry.http import (
    REQUEST_SECONDS,
    RegistryAccess,
    RegistryHttp,
)
from ader_stream.stream.schema_registry.referred_schemas import ReferredSchemas, RefusedSchemaError
from ader_stream.stream.schema_registry.token_bucket import TokenBucket

__all__ = ["RegistryAccess", "SchemaRegistry"]

log = structlog.get_logger(__name__)

AT_ONCE = 4
"""Number of parallel requests."""

LINGER_SECONDS = 1.0
"""Seconds for which a connection is kept for the next request; secrets of an idle one expire."""

MISSES_AT_ONCE = 20
MISSES_A_SECOND = 5.0
"""Most requests for ids that may not exist: bytes that are not Avro seem to name another id
each time, and must not become as many requests."""

PLAUSIBLE = 1_000
"""Registries number their ids: an id that far above every known one probably does not exist, if so
many others did not."""

MOST_UNKNOWN = 50_000
"""Most ids that are remembered as not registered: more than one batch of records can name."""

FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 30.0
"""Seconds between two requests to a registry that is down: the first, doubled up to the longest."""

PATIENCE_SECONDS = 300.0
"""Seconds for which an id is requested while it gets no answer and other ids do."""

UNKNOWN_SECONDS = 30.0
"""Seconds for which an id that is not registered is not requested again."""

NOT_ASKED = (
    f"was not requested: one click names it, and the last {MISSES_AT_ONCE} requested ids are "
    "not registered"
)

LOOK_SECONDS = 0.1
SLOW_LOOK_SECONDS = 1.0
"""Seconds after which a click that waits for an answer checks again: the longer it has waited, the
later, within these bounds."""


RecordPosition = tuple[int, int]
"""Partition and offset of a record."""


class _Unknown(NamedTuple):
    """An id without a usable schema, the reason, and until when (s) this is remembered."""

    until: float
    why: str
    alone_at: RecordPosition | None = None  # where it was not requested


class SchemaRegistry:
    """Requests each schema once, in threads of its own: callers do not wait unless they ask for it.

    If many ids in a row were not registered, an id that only one record names and that is far from
    all known ones is taken as not registered, without a request. It is requested if another record
    names it.

    Parameters
    ----------
    access
        Address and credentials of the registry.
    clock
        Returns monotonic seconds.

    Raises
    ------
    SettingsError
        If the client is not installed, or cannot be made from these settings.
    """

    def __init__(self, access: RegistryAccess, clock: Callable[[], float] = time.monotonic) -> None:
        RegistryHttp(access).__exit__(None, None, None)  # raises if none can be made
        self._access = access
        self._clock = clock
        self._referred = ReferredSchemas()
        self._changed = threading.Condition()
        self._queue: deque[int] = deque()
        self._asked: dict[int, float] = {}  # id → time of the request; until its answer is here
        self._found: dict[int, Any] = {}
        self._unknown: dict[int, _Unknown] = {}
        self._missed: deque[float] = deque(maxlen=MISSES_AT_ONCE)  # times of unregistered ids
        self._highest = 0
        self._unanswered: dict[int, float] = {}  # id → since when it has had no answer
        self._failure: SettingsError | None = None
        self._threads = 0
        self._misses = TokenBucket(MISSES_AT_ONCE, MISSES_A_SECOND, clock)
        self._away_until = 0.0
        self._wait = FIRST_WAIT_SECONDS
        self._reason = ""

    def ask(self, schema_ids: Mapping[int, RecordPosition | None]) -> None:
        """Request the schemas of ids, as far as the limit of requests allows.

        Parameters
        ----------
        schema_ids
            Each with the place of the only record that names it; None if several do.
        """
        with self._changed:
            for schema_id, alone_at in schema_ids.items():
                if self._clock() < self._away_until:
                    return
                if schema_id in self._asked or self._is_answered(schema_id, alone_at):
                    continue
                if self._misses.take():  # given back if it is registered
                    self._send(schema_id)
                elif alone_at and self._is_noise(schema_id):
                    self._refuse(schema_id, NOT_ASKED, alone_at)
                else:
                    self._unknown.pop(schema_id, None)  # named again: it is requested in its turn

    def wait(self, schema_ids: Iterable[int], seconds: float) -> None:
        """Wait until none of these is requested any more, for a limited time."""
        ids = list(schema_ids)
        with self._changed:
            self._changed.wait_for(lambda: not any(i in self._asked for i in ids), seconds)

    def answer(self, schema_id: int) -> Any:
        """Return a fetched schema, once; the caller keeps the result.

        Raises
        ------
        ClickError
            If the registry has no schema with this id, or not an Avro schema.
        NotYetError
            If it has not answered like a registry.
        SettingsError
            If it refuses our credentials.
        """
        with self._changed:
            if self._failure:
                raise SettingsError(str(self._failure))
            if schema_id in self._unknown:
                raise ClickError("unknown-schema", self._unknown[schema_id].why)
            if schema_id in self._found:
                return self._found.pop(schema_id)
            raise self._not_yet(schema_id)

    def schema(self, schema_id: int) -> Any:
        """Return a schema; wait as long as a request may take; raise the errors of `answer`."""
        if schema_id not in self._unknown:
            self.ask({schema_id: None})
            self.wait([schema_id], REQUEST_SECONDS)
        return self.answer(schema_id)

    def refuse(self, schema_id: int, what: str) -> ClickError:
        """Store what is wrong with the schema of an id; return the error of its clicks."""
        with self._changed:
            return self._refuse(schema_id, what)

    def expire_old_answers(self) -> None:
        """Request schemas again that were unknown a while ago; until then, they stay unknown."""
        with self._changed:
            now = self._clock()
            left = [(id_, found) for id_, found in self._unknown.items() if found.until > now]
            self._unknown = dict(left[-MOST_UNKNOWN:])

    def _is_answered(self, schema_id: int, alone_at: RecordPosition | None) -> bool:
        if schema_id in self._found or self._failure is not None:
            return True
        unknown = self._unknown.get(schema_id)
        return unknown is not None and unknown.alone_at in (None, alone_at)

    def _is_noise(self, schema_id: int) -> bool:
        """Return whether an id is probably one of very many that do not exist."""
        since = self._clock() - UNKNOWN_SECONDS
        has_missed = len(self._missed) == MISSES_AT_ONCE and self._missed[0] > since
        is_new = schema_id not in self._unknown
        return has_missed and is_new and schema_id > self._highest + PLAUSIBLE

    def _send(self, schema_id: int) -> None:
        self._unknown.pop(schema_id, None)
        self._asked[schema_id] = self._clock()
        self._queue.append(schema_id)
        if self._threads < min(AT_ONCE, len(self._asked)):
            self._threads += 1
            threading.Thread(target=self._run, name="schemas", daemon=True).start()
        self._changed.notify_all()

    def _not_yet(self, schema_id: int) -> NotYetError:
        now = self._clock()
        if now < self._away_until:
            return NotYetError(self._reason, self._away_until - now)
        name = f"schema id {schema_id} at {self._access.shown}"
        if (asked := self._asked.get(schema_id)) is not None:
            look = min(max(LOOK_SECONDS, now - asked), SLOW_LOOK_SECONDS)
            return NotYetError(f"{name}: no answer yet", look)
        wait = LOOK_SECONDS if self._asked else max(LOOK_SECONDS, self._misses.seconds_to(1))
        return NotYetError(f"{name}: requested in its turn, after unregistered ones", wait)

    # --- in the client's own threads

    def _run(self) -> None:
        try:
            with RegistryHttp(self._access) as http:
                while (schema_id := self._next()) is not None:
                    self._fetch(http, schema_id)
        except SettingsError as error:
            with self._changed:
                self._failure = error
                self._threads -= 1
                self._drop_asked()

    def _next(self) -> int | None:
        """Return the next id to request; wait for it a while; None if there is none."""
        with self._changed:
            if self._changed.wait_for(lambda: self._queue, LINGER_SECONDS):
                return self._queue.popleft()
            self._threads -= 1
            return None

    def _fetch(self, http: RegistryHttp, schema_id: int) -> None:
        try:
            schema = self._referred.fetch(http, schema_id)
        except SettingsError:
            raise
        except RefusedSchemaError as error:
            with self._changed:
                self._missed.append(self._clock())
                self._refuse(schema_id, str(error))
        except Exception as error:
            # After any error on the way, the schema may still exist.
            why = str(error) or repr(error)
            if self._is_alone_unanswered(http, schema_id):
                with self._changed:
                    self._refuse(schema_id, f"gets no answer ({why}), while others do")
            else:
                self._note_away(why)
        else:
            with self._changed:
                self._unanswered.pop(schema_id, None)
                self._wait = FIRST_WAIT_SECONDS
                self._misses.spend(-1)
                self._highest = max(self._highest, schema_id)
                self._found[schema_id] = schema
                self._note_answer(schema_id)

    def _is_alone_unanswered(self, http: RegistryHttp, schema_id: int) -> bool:
        """Return whether an id has long had no answer, while a known one gets an answer now."""
        with self._changed:
            if len(self._unanswered) > MOST_UNKNOWN:
                self._unanswered.clear()
            since = self._unanswered.setdefault(schema_id, self._clock())
            known = self._highest
        if not known or self._clock() - since < PATIENCE_SECONDS:
            return False
        try:
            http.schema(known)
        except Exception:
            with self._changed:
                self._unanswered[schema_id] = self._clock()  # until now, none had an answer
            return False
        return True

    def _refuse(
        self, schema_id: int, what: str, alone_at: RecordPosition | None = None
    ) -> ClickError:
        why = f"schema id {schema_id} at {self._access.shown} {what}"
        self._unknown[schema_id] = _Unknown(self._clock() + UNKNOWN_SECONDS, why, alone_at)
        self._found.pop(schema_id, None)
        self._note_answer(schema_id)
        return ClickError("unknown-schema", why)

    def _note_answer(self, schema_id: int) -> None:
        self._asked.pop(schema_id, None)
        self._changed.notify_all()

    def _note_away(self, why: str) -> None:
        with self._changed:
            self._misses.spend(-len(self._asked))
            self._drop_asked()
            if self._clock() < self._away_until:  # another request has reported it
                return
            # Workers that were disconnected together must not all retry at the same moment.
            wait = self._wait * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
            self._away_until = self._clock() + wait
            self._wait = min(2 * self._wait, LONGEST_WAIT_SECONDS)
            self._reason = f"schema registry {self._access.shown} does not answer: {why}"
        log.warning(
            "no schema registry", url=self._access.shown, error=why, wait_seconds=round(wait, 3)
        )

    def _drop_asked(self) -> None:
        self._queue.clear()
        self._asked.clear()
        self._changed.notify_all()
