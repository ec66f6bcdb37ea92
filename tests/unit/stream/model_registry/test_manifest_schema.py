"""The dataclasses of the manifest and `schemas/ModelManifest.avsc` are the same, field by field."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import MISSING, fields
from typing import Any, get_type_hints

import pytest

from ader_stream.stream.avro.codec import load_schema
from ader_stream.stream.avro.plain import from_plain, to_plain
from ader_stream.stream.model_registry import manifest as records
from ader_stream.stream.model_registry.manifest import Manifest
from tests.fakes import complete_manifest

SCHEMA = load_schema("ModelManifest")
CLASSES = {
    "ModelManifest": "Manifest",
    "CycleReport": "TrainingReport",
    "Gate": "GateReport",
    "Place": "PartOffsets",
}
"""Records of the schema → dataclasses of another name."""

PRIMITIVES = {
    "boolean": bool,
    "int": int,
    "long": int,
    "double": float,
    "string": str,
    "null": None,
}
REQUIRED = object()


def class_of(record: Mapping[str, Any]) -> type:
    return getattr(records, CLASSES.get(record["name"], record["name"]))


def hint_of(schema: Any) -> Any:
    """The Python type of an Avro type."""
    if isinstance(schema, str):
        return PRIMITIVES[schema]
    if isinstance(schema, list):
        null, other = schema
        assert null == "null"
        return hint_of(other) | None
    if schema["type"] == "array":
        return tuple[hint_of(schema["items"]), ...]
    if schema["type"] == "map":
        return Mapping[str, hint_of(schema["values"])]
    return class_of(schema)


def records_in(schema: Any) -> list[dict[str, Any]]:
    """A record and those inside it."""
    if isinstance(schema, list):
        return [found for branch in schema for found in records_in(branch)]
    if not isinstance(schema, dict):
        return []
    if schema["type"] != "record":
        return records_in(schema.get("items", schema.get("values")))
    return [schema, *(found for field in schema["fields"] for found in records_in(field["type"]))]


def described(record: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Name, type and default of each field of the schema."""
    return [
        (field["name"], hint_of(field["type"]), field.get("default", REQUIRED))
        for field in record["fields"]
    ]


def declared(cls: type) -> list[tuple[str, Any, Any]]:
    """Name, type and default of each field of a dataclass."""
    hints, found = get_type_hints(cls), []
    for field in fields(cls):
        default = REQUIRED if field.default is MISSING else field.default
        if field.default_factory is not MISSING:
            default = field.default_factory()
        found.append((field.name, hints[field.name], to_plain(default)))
    return found


@pytest.mark.parametrize("record", records_in(SCHEMA), ids=lambda record: record["name"])
def test_a_dataclass_has_the_fields_types_and_defaults_of_its_record(
    record: dict[str, Any],
) -> None:
    assert declared(class_of(record)) == described(record)


CHANGES: dict[str, Any] = {
    "a field more": lambda fields: fields.append({"name": "more", "type": "long"}),
    "a field less": lambda fields: fields.pop(),
    "another order": lambda fields: fields.reverse(),
    "another name": lambda fields: fields[0].update(name="other"),
    "another type": lambda fields: fields[0].update(type="string"),
    "a default more": lambda fields: fields[0].update(default=0),
    "a default less": lambda fields: fields[2].pop("default"),
    "another default": lambda fields: fields[4].update(default="rejected"),
    "null no more": lambda fields: fields[2].update(type="long", default=0),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_schema_that_changes_alone_is_noticed(change: Any) -> None:
    record = deepcopy(SCHEMA)
    change(record["fields"])
    assert declared(Manifest) != described(record)


def test_every_dataclass_of_the_manifest_is_a_record_of_the_schema() -> None:
    own = {name for name, value in vars(records).items() if hasattr(value, "__dataclass_fields__")}
    assert {class_of(record).__name__ for record in records_in(SCHEMA)} == own


def test_plain_values_come_back_in_the_order_of_the_schema() -> None:
    comparison = dict.fromkeys(("recall20", "other_recall20", "gain", "gain_low", "gain_high"), 0.5)
    counted = {"against": "parent", "samples": 3, "sessions": 2} | comparison
    place = {"partition": 0, "first_offset": None, "next_offset": 4}
    made = complete_manifest(
        2, gate={"comparisons": [counted]}, cut={"blocks.length": 5}, run={"offsets": [place]}
    )
    plain = to_plain(made)
    assert from_plain(Manifest, plain) == made
    assert list(plain) == [field["name"] for field in SCHEMA["fields"]]
    assert plain["gate"]["comparisons"] == [counted]
    assert plain["run"]["offsets"] == [place]
