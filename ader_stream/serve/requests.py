"""Requests for recommendations: read and checked, from a query or from JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.datastructures import QueryParams

from ader_stream.errors import InputError
from ader_stream.serve.choice import Choice

MAX_K = 1_000
MAX_ITEMS = 10_000
"""Most items of a session, of `exclude` and of `only`: far more than a model reads."""

MAX_SESSIONS = 100
"""Most sessions of a batch."""

MAX_BODY = 1_000_000
"""Most bytes of a request: several times what `MAX_ITEMS` ordinary item ids need."""


WISHES = ("k", "reasons", "exclude", "only", "exclude_seen", "min_score")
"""What a request may ask for, beside its session."""


@dataclass(frozen=True)
class Wish:
    """What a request asks for.

    Parameters
    ----------
    k
        Number of items.
    reasons
        Whether the answer states which clicks have led to each item.
    choice
        Which items the list may hold.
    """

    k: int
    reasons: bool = False
    choice: Choice = field(default_factory=Choice)


@dataclass(frozen=True)
class Asked:
    """A session whose items the request has.

    Parameters
    ----------
    items
        Oldest first.
    key
        Key of the session, where the request has one: a canary depends on it.
    """

    items: list[str]
    key: str | None = None


def wish_of_query(query: QueryParams, default_k: int) -> Wish:
    """Read a query; `exclude` and `only` may be repeated.

    Raises
    ------
    InputError
        Names the parameter, its value and the expectation.
    """
    require_known(query, ("session", *WISHES))
    given: dict[str, Any] = dict(query)
    given |= {name: query.getlist(name) for name in ("exclude", "only") if name in query}
    return _wish(given, default_k)


def read_request(body: bytes, default_k: int) -> tuple[Asked, Wish]:
    """Read a session's items and what is asked for; raises `InputError` as `wish_of_query`."""
    request = _object(body, '{"items": [ITEM, …], "k": 20}')
    if not isinstance(request.get("items"), list):
        raise InputError('body: expected JSON {"items": [ITEM, …], "k": 20}')
    require_known(request, ("items", "session", *WISHES))
    return _asked(request), _wish(request, default_k)


def read_batch(body: bytes, default_k: int) -> tuple[list[Asked], Wish]:
    """Read several sessions, and what is asked for all of them; raises as `read_request`."""
    expected = '{"sessions": [{"items": [ITEM, …]}, …], "k": 20}'
    request = _object(body, expected)
    sessions = request.get("sessions")
    if not isinstance(sessions, list) or not all(
        isinstance(one, dict) and isinstance(one.get("items"), list) for one in sessions
    ):
        raise InputError(f"body: expected JSON {expected}")
    require_known(request, ("sessions", *WISHES))
    for one in sessions:
        require_known(one, ("items", "session"))
    if len(sessions) > MAX_SESSIONS:
        raise InputError(f"sessions: {len(sessions)}; expected at most {MAX_SESSIONS}")
    return [_asked(one) for one in sessions], _wish(request, default_k)


def require_known(given: Iterable[str], known: Sequence[str]) -> None:
    """Raise `InputError` for a name that nobody reads: a misspelled one would do nothing."""
    for name in given:
        if name not in known:
            raise InputError(f"{name!r:.50}: unknown; expected one of {', '.join(known)}")


def checked_k(value: object) -> int:
    """Return the number of items that a request asks for; raises `InputError`."""
    try:
        k = int(str(value))
    except ValueError:
        k = 0
    if not 1 <= k <= MAX_K:
        raise InputError(f"k = {value!r:.50}: expected a whole number from 1 to {MAX_K}")
    return k


def _object(body: bytes, expected: str) -> dict[str, Any]:
    if len(body) > MAX_BODY:
        raise InputError(f"body: expected at most {MAX_BODY} bytes")
    try:
        request = json.loads(body)
    except (ValueError, RecursionError):
        request = None
    if not isinstance(request, dict):
        raise InputError(f"body: expected JSON {expected}")
    return request


def _asked(request: Mapping[str, Any]) -> Asked:
    key = request.get("session")
    if not isinstance(key, str | None):
        raise InputError(f"session = {key!r:.50}: expected a text, the key of the session")
    return Asked(_items("items", request["items"]), key)


def _wish(request: Mapping[str, Any], default_k: int) -> Wish:
    only = request.get("only")
    choice = Choice(
        frozenset(_items("exclude", request.get("exclude", []))),
        None if only is None else frozenset(_items("only", only)),
        _checked_flag("exclude_seen", request.get("exclude_seen", False)),
        _checked_score(request.get("min_score")),
    )
    reasons = _checked_flag("reasons", request.get("reasons", False))
    return Wish(checked_k(request.get("k", default_k)), reasons, choice)


def _items(name: str, items: object) -> list[str]:
    if (
        not isinstance(items, list)
        or len(items) > MAX_ITEMS
        or not all(type(item) in (str, int) for item in items)
    ):
        raise InputError(f"{name}: expected at most {MAX_ITEMS} texts or whole numbers")
    return [str(item) for item in items]


def _checked_flag(name: str, value: object) -> bool:
    flags = {"true": True, "1": True, "false": False, "0": False}
    flag = flags.get(str(value).lower())
    if flag is None:
        raise InputError(f"{name} = {value!r:.50}: expected true or false")
    return flag


def _checked_score(value: object) -> float | None:
    if value is None:
        return None
    try:
        score = math.nan if isinstance(value, bool) else float(str(value))
    except ValueError:
        score = math.nan
    if math.isnan(score):
        raise InputError(f"min_score = {value!r:.50}: expected a number")
    return score
