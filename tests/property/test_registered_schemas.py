"""Whatever a schema registry has for an id, a record with it becomes a click or a dead letter."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ader_stream.errors import ClickError
from ader_stream.stream.clicks.decoder import NOT_PLAIN, ClickDecoder, ClickFormat
from ader_stream.stream.schema_registry import client as schema_registry
from ader_stream.stream.schema_registry.http import RegistryAccess
from ader_stream.types import DEAD_LETTER_REASONS, Click
from tests.fakes import FakeRecord
from tests.property.any_record import A_RICH_CLICK, avro

PRIMITIVES = ["null", "boolean", "int", "long", "float", "double", "bytes", "string"]
LOGICAL = [
    "decimal",
    "uuid",
    "date",
    "time-millis",
    "time-micros",
    "timestamp-millis",
    "timestamp-micros",
    "timestamp-nanos",
    "local-timestamp-millis",
    "local-timestamp-nanos",
    "duration",
    "nobody's",
]
NAMES = ["session", "item", "time", "Click", "shop.Money", "A", "B", "1", "a-b", "", "null"]
NUMBERS = [0, 1, -1, 3, 16, 2**31, 2**70, 0.5, True, None, "3", [], {}]

junk = st.recursive(
    st.sampled_from([*PRIMITIVES, *NAMES, *NUMBERS, "record", "array", "fixed", "enum"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "name", "fields", "items"]), inner, max_size=3)
    ),
    max_leaves=4,
)
names = st.sampled_from(NAMES)
numbers = st.sampled_from(NUMBERS)


def composed(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Types that hold others, right and wrong in any part."""
    fields = st.lists(
        st.fixed_dictionaries({"name": names, "type": inner}, optional={"default": junk}),
        max_size=4,
    )
    clicks = st.tuples(inner, inner, inner).map(
        lambda types: [
            {"name": name, "type": type_}
            for name, type_ in zip(("session", "item", "time"), types, strict=True)
        ]
    )
    records = st.fixed_dictionaries(
        {"type": st.sampled_from(["record", "error"]), "name": names, "fields": fields | clicks},
        optional={"namespace": names, "aliases": junk},
    )
    return (
        records
        | st.lists(inner, max_size=4)
        | st.fixed_dictionaries({"type": st.just("array"), "items": inner})
        | st.fixed_dictionaries({"type": st.just("map"), "values": inner})
        | st.fixed_dictionaries({"type": inner})
    )


logical = st.fixed_dictionaries(
    {"type": st.sampled_from([*PRIMITIVES, "fixed"]), "logicalType": st.sampled_from(LOGICAL)},
    optional={"precision": numbers, "scale": numbers, "size": numbers, "name": names},
)
fixed = st.fixed_dictionaries({"type": st.just("fixed"), "name": names, "size": numbers})
enums = st.fixed_dictionaries(
    {"type": st.just("enum"), "name": names, "symbols": st.lists(names | numbers, max_size=3)}
)
any_schema = st.recursive(
    st.sampled_from([*PRIMITIVES, *NAMES]) | logical | fixed | enums | junk,
    composed,
    max_leaves=12,
)


class FakeHttp:
    """A registry in memory: subject and version → what it answers; id 1 is the last of them."""

    def __init__(self, schemas: dict[str, Any], references: dict[str, list[str]]) -> None:
        self.answers = {
            subject: {
                "schema": json.dumps(schema),
                "references": [
                    {"name": name, "subject": name, "version": 1}
                    for name in references.get(subject, ())
                ],
            }
            for subject, schema in schemas.items()
        }
        self.asked: list[str] = []

    def __call__(self, _: RegistryAccess) -> FakeHttp:
        return self

    def __enter__(self) -> FakeHttp:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def schema(self, _: int) -> dict[str, Any]:
        return [*self.answers.values()][-1]

    def version(self, subject: str, _: int) -> dict[str, Any]:
        self.asked.append(subject)
        return self.answers[subject]


@pytest.fixture(scope="module")
def patched() -> Iterator[pytest.MonkeyPatch]:
    """Connections end at once: the next example has another registry."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schema_registry, "LINGER_SECONDS", 0.0)
        yield patch


def decoder_for(http: FakeHttp, patched: pytest.MonkeyPatch) -> ClickDecoder:
    patched.setattr(schema_registry, "RegistryHttp", http)
    return ClickDecoder(ClickFormat("avro-registry", registry=RegistryAccess("http://none")))


def record(payload: bytes, offset: int = 0) -> FakeRecord:
    return FakeRecord(b"\0\0\0\0\x01" + payload, b"key", offset=offset)


def outcome(decoder: ClickDecoder, one: FakeRecord) -> Click | str:
    try:
        return decoder.decode(one)
    except ClickError as error:
        assert error.reason in DEAD_LETTER_REASONS
        return error.reason


@given(schema=any_schema, payloads=st.lists(st.binary(max_size=40), min_size=1, max_size=30))
def test_any_schema_makes_clicks_or_dead_letters(
    schema: Any, payloads: list[bytes], patched: pytest.MonkeyPatch
) -> None:
    decoder = decoder_for(FakeHttp({"clicks": schema}, {}), patched)
    records = [record(payload, offset) for offset, payload in enumerate(payloads)]
    decoder.check_readable(records)
    outcomes = [outcome(decoder, one) for one in records]
    for keys, items, time, one in zip(*decoder.decode_plain(records)[:3], outcomes, strict=True):
        assert time == NOT_PLAIN or one == Click(keys, items, time)


@given(schemas=st.lists(any_schema, min_size=2, max_size=4), payload=st.binary(max_size=40))
def test_any_schemas_that_refer_to_one_another_make_clicks_or_dead_letters(
    schemas: list[Any], payload: bytes, patched: pytest.MonkeyPatch
) -> None:
    subjects = {str(number): schema for number, schema in enumerate(schemas)}
    references = {str(number): [*map(str, range(number))] for number in range(len(schemas))}
    decoder = decoder_for(FakeHttp(subjects, references), patched)
    decoder.check_readable([record(payload)])
    outcome(decoder, record(payload))


# --- one schema, or the same in parts

MONEY = {
    "type": "record",
    "name": "Money",
    "namespace": "shop",
    "fields": [
        {"name": "cents", "type": "long"},
        {"name": "unit", "type": {"type": "enum", "name": "Unit", "symbols": ["EUR", "USD"]}},
    ],
}
PRODUCT = {
    "type": "record",
    "name": "Product",
    "namespace": "shop",
    "fields": [
        {"name": "sku", "type": "string"},
        {"name": "price", "type": "Money"},
        {"name": "parts", "type": {"type": "array", "items": "Product"}},
        {"name": "unit", "type": "shop.Unit"},
    ],
}
PARTS = {"Money": MONEY, "Product": PRODUCT}
USES = [
    "shop.Money",
    "shop.Product",
    ["null", "shop.Money"],
    ["shop.Product", "shop.Money"],
    {"type": "array", "items": "shop.Product"},
    {"type": "map", "values": ["shop.Money", "shop.Unit"]},
]
A_PRICE = {"cents": 5, "unit": "USD"}
A_PRODUCT = {"sku": "hat", "price": A_PRICE, "parts": [], "unit": "EUR"}
VALUES = [
    A_PRICE,
    A_PRODUCT | {"parts": [A_PRODUCT]},
    A_PRICE,
    A_PRODUCT,
    [A_PRODUCT],
    {"each": A_PRICE, "all": "EUR"},
]


@given(
    uses=st.lists(st.integers(0, len(USES) - 1), max_size=4),
    is_union=st.booleans(),
    data=st.data(),
)
def test_a_schema_in_parts_reads_what_the_whole_one_reads(
    uses: list[int], is_union: bool, data: st.DataObject, patched: pytest.MonkeyPatch
) -> None:
    fields = [{"name": name, "type": "string"} for name in ("session", "item")]
    fields += [{"name": f"use{n}", "type": USES[use]} for n, use in enumerate(uses)]
    fields += [{"name": "time", "type": "long"}]
    click = {"type": "record", "name": "Click", "namespace": "shop", "fields": fields}
    value = A_RICH_CLICK | {f"use{n}": VALUES[use] for n, use in enumerate(uses)}
    named: dict[str, Any] = {}
    for part in PARTS.values():
        fastavro.parse_schema(part, named)
    payload = avro(fastavro.parse_schema(click, named), value)
    subjects, references = {**PARTS, "click": click}, {"Product": ["Money"]}
    references["click"] = data.draw(st.permutations(["Money", "Product"]))
    if is_union:  # of another event, the click, and a part
        view = {"type": "record", "name": "View", "fields": []}
        subjects |= {"view": view, "any": ["View", "shop.Click", "shop.Money"]}
        references["any"] = ["view", "click", "Money"]
        payload = b"\x02" + payload
    http = FakeHttp(subjects, references)
    decoder = decoder_for(http, patched)
    decoder.check_readable([record(payload)])
    assert decoder.decode(record(payload)) == Click("a", "x", 1_700_000_000_000)
    assert len(http.asked) == len(set(http.asked)), "each part is asked for once"
