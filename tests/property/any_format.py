"""Random click formats: paths, filters, formats of keys and times."""

from __future__ import annotations

import random

from ader_stream.stream.clicks.decoder import ClickFormat
from ader_stream.stream.clicks.event_times import TIME_FORMATS
from ader_stream.stream.clicks.formats.values import KEY_FORMATS

NAMES = ["session", "item", "time", "id", "price", "user", r"a\.b", r"\$key", "0", "-1", "\u00fc"]
ROOTS = [*NAMES, "$key", "$timestamp", "%ce_time", "%ader-watermark"]
STEPS = [*(f".{name}" for name in NAMES), "[0]", "[-1]", "[id=7]", '[price="a b"]']
LITERALS = ['"a"', "'view'", "5", "-1.5", "1e3", "true", "false", "null", '"7"']
PIECES = [*ROOTS, *STEPS, *LITERALS, *"()|+,<>!=[]%$.\\\"' ", "==", "!=", "<=", "in", "not", "and"]
"""What paths and filters are made of, and what is no part of them."""


def any_path(rng: random.Random, depth: int = 2) -> str:
    """A path that can be parsed."""
    kind = rng.random()
    if depth and kind < 0.15:
        return f"{any_path(rng, depth - 1)} | {any_path(rng, depth - 1)}"
    if depth and kind < 0.25:
        return f"({any_path(rng, depth - 1)}) + {any_path(rng, depth - 1)}"
    root = rng.choice(NAMES[:3] if kind < 0.6 else ROOTS)
    steps = [rng.choice(STEPS) for _ in range(rng.choice([0, 0, 0, 1, 2]))]
    return root if root == "$timestamp" else "".join([root, *steps])


def any_filter(rng: random.Random, depth: int = 3) -> str:
    """A filter that can be parsed."""
    if depth and rng.random() < 0.4:
        inner, other = any_filter(rng, depth - 1), any_filter(rng, depth - 1)
        return rng.choice([f"({inner}) and {other}", f"{inner} or {other}", f"not ({inner})"])
    path, literal, other = any_path(rng), *rng.sample(LITERALS, 2)
    tests = [
        f"({path})",
        f"exists({path})",
        f"({path}) == {literal}",
        f"({path}) != {literal}",
        f"({path}) {rng.choice(['<', '<=', '>', '>='])} {rng.choice(['5', '-1.5', '1e12'])}",
        f"({path}) {rng.choice(['in', 'not in'])} ({literal}, {other})",
    ]
    return rng.choice(tests)


def any_text(rng: random.Random) -> str:
    """Pieces of paths and filters in any order."""
    return "".join(rng.choice(PIECES) for _ in range(rng.randrange(12)))


def any_format(rng: random.Random) -> ClickFormat:
    """A format of JSON clicks: not what anybody would set, but what anybody may."""
    return ClickFormat(
        session=any_path(rng) if rng.random() < 0.5 else "session",
        item=any_path(rng) if rng.random() < 0.5 else "item",
        time=any_path(rng) if rng.random() < 0.3 else "time",
        event_id=rng.choice(["", any_path(rng)]),
        extra=tuple(any_path(rng) for _ in range(rng.choice([0, 0, 2]))),
        time_format=rng.choice([*TIME_FORMATS]),
        where=rng.choice(["", any_filter(rng)]),
        ignore_keys=rng.choice([(), ("a", ""), ("7", "null")]),
        key_format=rng.choice([*KEY_FORMATS]),
        explode=rng.choice(["", "", any_path(rng, depth=1).replace("+", "|")]),
    )
