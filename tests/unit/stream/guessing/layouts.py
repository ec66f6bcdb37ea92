"""Visits of a made-up shop, in the layouts in which pipelines write them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from ader_stream.stream.kafka.sampling import SampledRecord

NOW = 1_750_000_000_000
MINUTE = 60_000

Value = Mapping[str, Any] | bytes | None


class Event(NamedTuple):
    """An event of a visit."""

    number: int
    visit: str
    visitor: str
    item: str
    time: int
    kind: str


class Written(NamedTuple):
    """A record: its value, key and headers."""

    value: Value
    key: str | None = None
    headers: Mapping[str, str] = {}


Layout = Callable[[Event], Written]


def visits(count: int = 40, seed: int = 3) -> list[Event]:
    """Return the events of visits, some at the same time; a look may be followed by a cart."""
    rng, found = random.Random(seed), list[Event]()
    for number in range(count):
        time = NOW - 3 * 86_400_000 + number * 20 * MINUTE + rng.randrange(1000)
        for _ in range(rng.randrange(2, 7)):
            item = f"art-{rng.randrange(25)}"
            look = Event(0, f"vis-{number}", f"per-{number % 12}", item, time, "look at view")
            found.append(look)
            if rng.random() < 0.25:
                found.append(look._replace(time=time + 5_000, kind="cart"))
            time += rng.randrange(MINUTE // 2, 9 * MINUTE)
    found.sort(key=lambda event: event.time)
    return [event._replace(number=number) for number, event in enumerate(found)]


def views(count: int = 40) -> list[Event]:
    """Return the looks alone."""
    return [event for event in visits(count) if event.kind != "cart"]


def records(written: Iterator[Written]) -> list[SampledRecord]:
    """Return records of one partition."""
    return [record_of(number, one) for number, one in enumerate(written)]


def record_of(number: int, written: Written) -> SampledRecord:
    value = written.value
    encoded = json.dumps(value).encode() if isinstance(value, Mapping) else value
    key = None if written.key is None else written.key.encode()
    at = (1, NOW + number)
    headers = [(name, text.encode()) for name, text in written.headers.items()]
    return SampledRecord(("shop.clicks", 0, number, key, encoded, at), headers)


def iso(time: int) -> str:
    return datetime.fromtimestamp(time / 1000, UTC).isoformat(timespec="milliseconds")


def flat(event: Event) -> Written:
    return Written({"sid": event.visit, "article": event.item, "ts": event.time}, event.visit)


def seconds(event: Event) -> Written:
    value = {"visit": event.visit, "offer": event.item, "at": event.time / 1000, "price": 9.5}
    return Written(value, event.visit)


def quoted_micros(event: Event) -> Written:
    value = {"visit_id": event.visit, "sku": event.item, "t": str(event.time * 1000)}
    return Written(value, event.visit)


def words_without_meaning(event: Event) -> Written:
    """Names say nothing: the structure alone decides."""
    value = {"a": event.number, "b": event.item, "c": iso(event.time), "d": event.visit, "e": "web"}
    return Written(value, event.visit)


def later_times(event: Event) -> Written:
    value = {
        "stored": iso(event.time + 90_000),
        "happened": iso(event.time),
        "visit": event.visit,
        "visitor": event.visitor,
        "body": {"product": {"code": event.item, "title": f"Title of {event.item}"}},
    }
    return Written(value, event.visitor)


def text_within(event: Event) -> Written:
    inner = json.dumps({"session": event.visit, "content": {"id": event.item}})
    return Written({"payload": inner, "time": event.time}, event.visit)


def headers(event: Event) -> Written:
    names = {"visit": event.visit, "event_time": iso(event.time), "id": f"id-{event.number}"}
    return Written({"sku": event.item}, None, names)


def key_with_fields(event: Event) -> Written:
    key = json.dumps({"visit": event.visit, "shop": "de"})
    return Written({"item": event.item, "time": event.time}, key)


def first_of_a_list(event: Event) -> Written:
    value = {"visit": event.visit, "products": [{"sku": event.item}], "time": event.time}
    return Written(value, event.visit)


def strange_names(event: Event) -> Written:
    value = {"Session ID": event.visit, "item.id": event.item, "$timestamp": event.time}
    return Written(value, event.visit)


def change_of_a_row(event: Event) -> Written:
    row = {"visit": event.visit, "sku": event.item, "at": event.time * 1000}
    source = {"at_ms": event.time + 30, "table": "clicks"}
    return Written({"op": "c", "after": row, "source": source}, event.visit)


LAYOUTS: tuple[Layout, ...] = (
    flat,
    seconds,
    quoted_micros,
    words_without_meaning,
    later_times,
    text_within,
    headers,
    key_with_fields,
    first_of_a_list,
    strange_names,
    change_of_a_row,
)
