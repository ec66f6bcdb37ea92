"""What the words in a field's name suggest: weak evidence, between 0 and 1.

The words are those of the domain (a visit, a product, a time), not of any vendor's layout.
"""

from __future__ import annotations

import re

SESSION = {"session": 1.0, "sessionid": 1.0, "visit": 1.0, "sid": 0.8}
USER = dict.fromkeys(
    (
        "user",
        "visitor",
        "anonymous",
        "client",
        "device",
        "customer",
        "member",
        "cookie",
        "distinct",
    ),
    0.6,
)
ITEM = dict.fromkeys(
    ("item", "sku", "product", "article", "content", "asin", "ean", "track", "movie", "video"), 1.0
) | {"listing": 0.8, "object": 0.4, "entity": 0.4, "offer": 0.8, "goods": 0.8, "news": 0.8}
TIME = {"time": 0.8, "timestamp": 0.9, "ts": 0.8, "at": 0.6, "date": 0.4, "derived": 0.3}
TIME |= {"event": 0.2, "occurred": 0.6, "click": 0.3}
LATER = dict.fromkeys(
    ("received", "sent", "etl", "collector", "ingest", "ingested", "load", "server", "processed"),
    -0.8,
) | {"updated": -0.4, "modified": -0.4, "source": -0.3, "original": -0.1}
DESCRIPTION = dict.fromkeys(
    ("url", "path", "page", "title", "name", "referrer", "category", "brand", "type", "event"), -0.5
) | dict.fromkeys(("price", "quantity", "index", "position", "number", "offset", "version"), -0.8)
KIND = {"event": 1.0, "type": 0.9, "action": 0.9, "op": 0.7, "operation": 0.7, "name": 0.4}

VIEWED = frozenset({"view", "viewed", "views", "click", "clicked", "open", "opened", "visit", "pv"})
VIEWED |= {"detail", "details", "seen", "play", "played", "read"}
NOT_VIEWED = frozenset({"cart", "addtocart", "basket", "purchase", "purchased", "order", "ordered"})
NOT_VIEWED |= {"checkout", "transaction", "buy", "bought", "remove", "removed", "added", "payment"}
NOT_VIEWED |= {"fav", "wishlist", "identify", "delete", "deleted", "impression"}

PLACEHOLDERS = frozenset({"null", "none", "undefined", "nan", "unknown", "anonymous", "-", "0"})
"""Session keys, in lower case, that no visitor has."""

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


def words_in(name: str) -> list[str]:
    """Return the words of a name, in lower case.

    >>> words_in("properties.$session_id"), words_in("anonymousId")
    (['properties', 'session', 'id'], ['anonymous', 'id'])
    """
    return [word.lower() for word in _WORD.findall(name)]


def suggests(path: str, *scores: dict[str, float]) -> float:
    """Return what the words of a path's last name, and with less weight those before, suggest."""
    *before, last = path.split(".")
    of_last = _sum(words_in(last), scores)
    return max(-1.0, min(1.0, of_last + 0.3 * _sum(words_in(".".join(before)), scores)))


def _sum(words: list[str], scores: tuple[dict[str, float], ...]) -> float:
    found = [score[word] for score in scores for word in words if word in score]
    return max(found, default=0.0) + min([*found, 0.0])
