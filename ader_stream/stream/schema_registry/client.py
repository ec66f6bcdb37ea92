"""Writers' schemas by their id, from a schema registry that may be slow, or away for a while."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import structlog

from ader_stream.errors import ClickError, NotYetError, SettingsError
from ader_stream.stream.schema_registry.allowance import Allowance
from ader_stream.stream.schema_registry.http import (
    REQUEST_SECONDS,
    RegistryAccess,
    RegistryHttp,
)
from ader_stream.stream.schema_registry.referred_schemas import ReferredSchemas, RefusedSchemaError

__all__ = ["RegistryAccess", "SchemaRegistry"]

log = structlog.get_logger(__name__)

AT_ONCE = 4
"""Requests that are on their way side by side."""

LINGER_SECONDS = 1.0
"""How long a connection is kept for the next request; an idle one has secrets that grow old."""

MISSES_AT_ONCE = 20
MISSES_A_SECOND = 5.0
"""Ids asked for that may turn out to be nobody's: bytes that are no Avro seem to name another one
each time, and must not become as many requests."""

PLAUSIBLE = 1_000
"""Registries count: an id that far above every one that is known will be nobody's, too, where so
many others just were."""

MOST_UNKNOWN = 50_000
"""Ids that are remembered to be nobody's: more than one batch of records can name."""

FIRST_WAIT_SECONDS = 0.5
LONGEST_WAIT_SECONDS = 30.0
"""Between two requests to a registry that is away; doubled from the first to the longest."""

PATIENCE_SECONDS = 300.0
"""For so long an id is asked for that alone gets no answer, while the registry gives others'."""

UNKNOWN_SECONDS = 30.0
"""For so long an id that is not registered is not asked for again."""

NOT_ASKED = (
    f"was not asked for: it stands alone, and the last {MISSES_AT_ONCE} that were asked for are "
    "not registered"
)

LOOK_SECONDS = 0.1
SLOW_LOOK_SECONDS = 1.0
"""After which a click that waits for an answer looks for it again: the longer it has waited, the
later, within these bounds."""


Place = tuple[int, int]
"""Partition and offset of a record."""


class _Unknown(NamedTuple):
    """An id of which it is said that nothing is read by it, and until when (s) that counts."""

    until: float
    why: str
    alone_at: Place | None = None  # where it was not asked for


class SchemaRegistry:
    """Asks once for each schema, in threads of its own: no caller waits unless it says so.

    Where many ids in a row were not registered, one that stands alone and far from all that are
    known is taken to be no better, without a request; it is asked for if it comes again.

    Parameters
    ----------
    access
        Where to ask.
    clock
        Seconds, ever rising.

    Raises
    ------
    SettingsError
        If the client is not installed, or cannot be made from these settings.
    """

    def __init__(self, access: RegistryAccess, clock: Callable[[], float] = time.monotonic) -> None:
        RegistryHttp(access).__exit__(None, None, None)  # says whether one can be made
        self._access = access
        self._clock = clock
        self._referred = ReferredSchemas()
        self._changed = threading.Condition()
        self._queue: deque[int] = deque()
        self._asked: dict[int, float] = {}  # id → when; until its answer is here
        self._found: dict[int, Any] = {}
        self._unknown: dict[int, _Unknown] = {}
        self._missed: deque[float] = deque(maxlen=MISSES_AT_ONCE)  # when ids were nobody's
        self._highest = 0
        self._unanswered: dict[int, float] = {}  # id → since when nothing was said of it
        self._failure: SettingsError | None = None
        self._threads = 0
        self._misses = Allowance(MISSES_AT_ONCE, MISSES_A_SECOND, clock)
        self._away_until = 0.0
        self._wait = FIRST_WAIT_SECONDS
        self._reason = ""

    def ask(self, schema_ids: Mapping[int, Place | None]) -> None:
        """Have the answers for ids fetched, as far as so many may be asked for now.

        Parameters
        ----------
        schema_ids
            Each with the place of the only record that names it; None where several do.
        """
        with self._changed:
            for schema_id, alone_at in schema_ids.items():
                if self._clock() < self._away_until:
                    return
                if schema_id in self._asked or self._is_answered(schema_id, alone_at):
                    continue
                if self._misses.take():  # given back if it is none
                    self._send(schema_id)
                elif alone_at and self._is_noise(schema_id):
                    self._refuse(schema_id, NOT_ASKED, alone_at)
                else:
                    self._unknown.pop(schema_id, None)  # it has come again: its turn comes, too

    def wait(self, schema_ids: Iterable[int], seconds: float) -> None:
        """Wait until nothing of these is asked for any more, or so long."""
        ids = list(schema_ids)
        with self._changed:
            self._changed.wait_for(lambda: not any(i in self._asked for i in ids), seconds)

    def answer(self, schema_id: int) -> Any:
        """Return a schema that was fetched, once; the caller keeps what it makes of it.

        Raises
        ------
        ClickError
            If the registry says that there is none of this id, or that it is no Avro schema.
        NotYetError
            If it has not answered as a registry does.
        SettingsError
            If it refuses us.
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
        """Return a schema, waiting as long as a request may take; raises as `answer` does."""
        if schema_id not in self._unknown:
            self.ask({schema_id: None})
            self.wait([schema_id], REQUEST_SECONDS)
        return self.answer(schema_id)

    def refuse(self, schema_id: int, what: str) -> ClickError:
        """Take note of what is wrong with the schema of an id; return what its clicks come to."""
        with self._changed:
            return self._refuse(schema_id, what)

    def forget_old_answers(self) -> None:
        """Ask again for schemas that were unknown a while ago; until then, they stay unknown."""
        with self._changed:
            now = self._clock()
            left = [(id_, found) for id_, found in self._unknown.items() if found.until > now]
            self._unknown = dict(left[-MOST_UNKNOWN:])

    def _is_answered(self, schema_id: int, alone_at: Place | None) -> bool:
        if schema_id in self._found or self._failure is not None:
            return True
        unknown = self._unknown.get(schema_id)
        return unknown is not None and unknown.alone_at in (None, alone_at)

    def _is_noise(self, schema_id: int) -> bool:
        """Whether an id is one of very many that nobody has, as far as can be told."""
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
        return NotYetError(f"{name}: asked for in its turn, after others that nobody has", wait)

    # --- in threads of its own

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
        """Return what to ask for, waiting for it a while; None where nothing comes."""
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
            # Whatever goes wrong on the way, the schema is still to be had.
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
        """Whether an id has long been without an answer, and one that was found gets one now."""
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
                self._unanswered[schema_id] = self._clock()  # not alone until now
            return False
        return True

    def _refuse(self, schema_id: int, what: str, alone_at: Place | None = None) -> ClickError:
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
            if self._clock() < self._away_until:  # another request has said so
                return
            # Workers that were cut off together do not all come back in the same moment.
            wait = self._wait * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
            self._away_until = self._clock() + wait
            self._wait = min(2 * self._wait, LONGEST_WAIT_SECONDS)
            self._reason = f"schema registry {self._access.shown} does not answer: {why}"
        log.warning(
            "schema registry away", url=self._access.shown, error=why, wait_seconds=round(wait, 3)
        )

    def _drop_asked(self) -> None:
        self._queue.clear()
        self._asked.clear()
        self._changed.notify_all()
