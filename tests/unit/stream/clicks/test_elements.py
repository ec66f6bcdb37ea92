"""What is read of a record that holds many clicks (`clicks.explode`)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ader_stream.errors import ClickError, IgnoredError, SettingsError
from ader_stream.stream.clicks.decoder import ClickDecoder, ClickFormat
from ader_stream.types import Click
from tests.fakes import FakeRecord

VISIT = {"user": "u", "at": 5, "actions": [{"sku": "a"}, {"sku": "b"}]}
NAMES: dict[str, Any] = {"session": "$record.user", "item": "sku", "time": "$record.at"}


def each(value: object, headers: list[tuple[str, bytes]] | None = None, **names: Any) -> list[Any]:
    format_ = ClickFormat(**(NAMES | {"explode": "actions"} | names))
    record = FakeRecord(json.dumps(value).encode(), b"k", headers=headers, timestamp=9)
    return [result for _, result in ClickDecoder(format_).decode_each(record)]


def refusal(value: object, **given: Any) -> str:
    with pytest.raises(ClickError) as error:
        each(value, **given)
    return f"{error.value.reason}: {error.value}"


def test_each_element_is_a_click_with_fields_of_its_record() -> None:
    assert each(VISIT) == [Click("u", "a", 5), Click("u", "b", 5)]


def test_an_element_has_its_position_its_own_value_and_the_parts_of_the_record() -> None:
    value = {"skus": ["a", 7]}
    names = {"explode": "skus", "item": "$element", "session": "$key", "time": "$timestamp"}
    assert each(value, extra=("$index",), **names) == [
        Click("k", "a", 9, extra={"$index": "0"}),
        Click("k", "7", 9, extra={"$index": "1"}),
    ]


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ([{"u": "u", "sku": "a", "t": 5}], {"explode": "$record", "session": "u", "time": "t"}),
        (VISIT | {"actions": {"sku": "a"}}, {}),
        (VISIT | {"actions": json.dumps([{"sku": "a"}])}, {}),
        (VISIT | {"actions": [json.dumps({"sku": "a"})]}, {}),
        (VISIT | {"in": {"actions": [{"sku": "a"}]}}, {"explode": "in.actions"}),
        (VISIT | {"other": [{"sku": "a"}], "actions": None}, {"explode": "actions | other"}),
    ],
)
def test_a_list_is_found_in_any_form(value: object, names: dict[str, Any]) -> None:
    assert each(value, **names) == [Click("u", "a", 5)]


def test_a_filter_of_the_record_is_decided_before_its_list_is_looked_for() -> None:
    where = '$record.type == "products"'
    assert len(each(VISIT | {"type": "products"}, where=where)) == 2
    with pytest.raises(IgnoredError):
        each({"type": "page"}, where=where)


def test_a_filter_of_the_elements_leaves_some_of_them_out() -> None:
    first, second = each(VISIT, where='sku == "b" and $record.user == "u"')
    assert (first.reason, second) == ("where", Click("u", "b", 5))


def test_an_event_id_of_the_record_is_joined_with_the_position() -> None:
    ids = [click.event_id for click in each(VISIT | {"id": "e"}, event_id="$record.id")]
    assert ids == ["e:0", "e:1"]


def test_an_event_id_of_the_element_is_taken_as_it_is() -> None:
    value = VISIT | {"id": "e", "actions": [{"sku": "a", "id": "own"}, {"sku": "b"}]}
    assert [c.event_id for c in each(value, event_id="id | $record.id")] == ["own", "e:1"]


def test_an_element_that_is_no_click_is_refused_alone() -> None:
    first, second, third = each(VISIT | {"actions": [{"sku": "a"}, {}, 7]})
    assert first == Click("u", "a", 5)
    assert (second.reason, third.reason) == ("missing-field", "missing-field")


@pytest.mark.parametrize("empty", [[], None])
def test_an_empty_list_is_ignored(empty: object) -> None:
    with pytest.raises(IgnoredError) as error:
        each(VISIT | {"actions": empty})
    assert error.value.reason == "empty"


def test_a_record_without_a_list_is_refused_as_a_whole() -> None:
    assert refusal({"user": "u"}).startswith("missing-field: no list 'actions' (clicks.explode)")
    assert refusal(VISIT | {"actions": 7}) == "bad-value: actions = 7: expected a list"


def test_a_list_that_is_too_long_is_refused_as_a_whole() -> None:
    assert refusal(VISIT, max_elements=1).startswith("too-large: actions has 2 elements")


def test_a_header_names_the_elements_that_were_sent_back() -> None:
    assert each(VISIT, [("ader-elements", b"1")]) == [Click("u", "b", 5)]
    assert "names element 2" in refusal(VISIT, headers=[("ader-elements", b"2")])
    assert "expected positions" in refusal(VISIT, headers=[("ader-elements", b"-1")])


def test_parts_of_an_element_are_refused_where_a_record_is_one_click() -> None:
    with pytest.raises(SettingsError, match=r"\$record: only with clicks.explode"):
        ClickDecoder(ClickFormat(session="$record.user"))
