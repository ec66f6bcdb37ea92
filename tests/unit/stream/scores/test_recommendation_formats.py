from __future__ import annotations

import io
import json
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ader_stream.errors import AderError, SettingsError
from ader_stream.stream.avro.codec import decode, decode_as, load_schema
from ader_stream.stream.schema_registry.http import RegistryAccess
from ader_stream.stream.scores.prequential import fitting_items
from ader_stream.stream.scores.recommendation_formats import (
    AVRO,
    JSON,
    RecommendationFormat,
    recommendation_format,
    registered,
)
from tests.registry import running_registry

TOPIC = "shop.recommendations"
ITEMS = [{"item": "hat", "score": 0.5}, {"item": 'café "1"', "score": -2.25}]
FIELDS: dict[str, Any] = {
    "session": "visit-1",
    "version": 3,
    "time": 1_750_000_000_000,
    "fallback": False,
    "items": ITEMS,
}


def test_our_own_format_names_its_schema() -> None:
    assert decode(*AVRO.encode(FIELDS)) == ("Recommendation", FIELDS)


def test_json_has_the_fields_of_the_schema() -> None:
    value, headers = JSON.encode(FIELDS)
    assert json.loads(value) == FIELDS
    assert dict(headers)["ader-format"] == b"json"


def test_a_registry_is_asked_for_the_id_that_stands_before_the_value() -> None:
    with running_registry() as registry:
        access = RegistryAccess(registry.url)
        first, again = (
            recommendation_format("avro-registry", TOPIC, access).encode(FIELDS)[0]
            for _ in range(2)
        )
        assert registry.versions == {f"{TOPIC}-value": [1]}
        schema = json.loads(registry.schemas[1]["schema"])
    assert first == again
    assert first[:5] == b"\0\0\0\0\1"
    assert schema == load_schema("Recommendation")
    read = fastavro.schemaless_reader(io.BytesIO(first[5:]), fastavro.parse_schema(schema), None)
    assert read == FIELDS == decode_as("Recommendation", first[5:])


def test_a_registry_that_does_not_answer_is_named_with_the_remedy() -> None:
    with running_registry() as registry:
        registry.status = 500
        with pytest.raises(AderError, match="recommendations-value was not registered: HTTP 500"):
            recommendation_format("avro-registry", TOPIC, RegistryAccess(registry.url))


def test_a_format_that_needs_a_registry_is_refused_without_one() -> None:
    with pytest.raises(SettingsError, match=r"expected clicks\.registry_url"):
        recommendation_format("avro-registry", TOPIC, None)


@pytest.mark.parametrize("format_", [AVRO, JSON, registered(7)], ids=["avro", "json", "registry"])
@given(
    items=st.lists(st.tuples(st.text(max_size=20), st.floats(-1e9, 1e9, width=32)), max_size=9),
    key=st.text(max_size=20),
    room=st.integers(0, 900),
)
def test_what_fits_is_never_longer_than_its_room(
    format_: RecommendationFormat, items: list[tuple[str, float]], key: str, room: int
) -> None:
    beside = room - format_.text_bytes(key)
    ranked = fitting_items(tuple(items), beside, format_)
    named = [{"item": item, "score": score} for item, score in ranked]
    value, _ = format_.encode(FIELDS | {"session": key, "items": named})
    assert not ranked or len(value) <= room
