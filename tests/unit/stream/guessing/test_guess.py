from __future__ import annotations

import json
import tomllib
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ader_stream.errors import DecodeError
from ader_stream.settings import load_settings
from ader_stream.stream.clicks.click_format import ClickFormat
from ader_stream.stream.clicks.decoder import ClickDecoder
from ader_stream.stream.guessing import Proposal, propose, read_contents, settings_text
from ader_stream.stream.kafka.sampling import SampledRecord
from tests.unit.stream.guessing.layouts import (
    LAYOUTS,
    NOW,
    Event,
    Layout,
    Value,
    Written,
    flat,
    records,
    views,
    visits,
)

Sessions = dict[str, list[str]]


def guess(sample: list[SampledRecord]) -> Proposal:
    return propose(read_contents(sample, ClickFormat()), ClickFormat(), NOW + 86_400_000)


def guess_values(values: Iterable[Value]) -> Proposal:
    return guess(records(Written(value) for value in values))


def settings_of(proposal: Proposal) -> dict[str, dict[str, Any]]:
    return tomllib.loads(settings_text(proposal, "shop.clicks"))


def sessions_by(proposal: Proposal, sample: list[SampledRecord]) -> Sessions:
    """Decode the sample with the settings file, as a worker would."""
    decoder = ClickDecoder(load_settings(**settings_of(proposal)).click_format)
    found: defaultdict[str, list[str]] = defaultdict(list)
    for record in sample:
        try:
            click = decoder.decode(record)
        except DecodeError:
            continue
        found[click.key].append(click.item)
    return dict(found)


def sessions_in(events: Iterable[Event]) -> Sessions:
    found: defaultdict[str, list[str]] = defaultdict(list)
    for event in events:
        found[event.visit].append(event.item)
    return dict(found)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_the_clicks_of_a_layout_come_out_with_the_proposed_settings(layout: Layout) -> None:
    sample = records(map(layout, views()))
    proposal = guess(sample)
    assert sessions_by(proposal, sample) == sessions_in(views())
    assert proposal.outcome.clicks == len(views())


def test_carts_that_follow_a_view_of_the_same_item_are_no_clicks() -> None:
    sample = records(
        flat(event)._replace(value={**flat(event).value, "zz": event.kind})  # type: ignore[dict-item]
        for event in visits()
    )
    proposal = guess(sample)
    assert proposal.where == 'zz == "look at view"'
    assert sessions_by(proposal, sample) == sessions_in(views())
    assert '# "cart"' in settings_text(proposal, "shop.clicks")


def test_kinds_of_events_without_an_item_are_no_clicks() -> None:
    pages = [Written({"sid": e.visit, "ts": e.time - 1, "kind": "page"}, e.visit) for e in views()]
    clicks = [flat(e)._replace(value={**flat(e).value, "kind": "shown"}) for e in views()]  # type: ignore[dict-item]
    sample = records(one for pair in zip(pages, clicks, strict=True) for one in pair)
    assert guess(sample).where == 'kind == "shown"'


def test_records_without_an_item_and_a_kind_are_left_out_by_its_presence() -> None:
    pages = [Written({"sid": e.visit, "ts": e.time - 1}, e.visit) for e in views()]
    sample = records(one for pair in zip(pages, map(flat, views()), strict=True) for one in pair)
    assert guess(sample).where == "exists(article)"


def test_what_could_be_it_as_well_is_shown_beside_the_choice() -> None:
    def two(event: Event) -> Written:
        sku = f"{event.item}-{event.number % 2}"
        return Written({**flat(event).value, "sku": sku}, event.visit)  # type: ignore[dict-item]

    proposal = guess(records(map(two, views())))
    assert proposal.item
    shown = {proposal.item.best.path, *(one.path for one in proposal.item.alternatives)}
    assert shown == {"article", "sku"}
    assert any("clicks.item_field" in doubt for doubt in proposal.doubts)
    assert "# CHECK: clicks.item_field" in settings_text(proposal, "shop.clicks")


def test_a_field_with_the_same_values_leaves_no_doubt() -> None:
    def twice(event: Event) -> Written:
        return Written({**flat(event).value, "product": event.item}, event.visit)  # type: ignore[dict-item]

    proposal = guess(records(map(twice, views())))
    assert proposal.doubts == []
    assert "# the same value in each record:" in settings_text(proposal, "shop.clicks")


def test_a_clear_layout_leaves_no_doubt() -> None:
    assert guess(records(map(flat, views()))).doubts == []


def test_a_visitors_key_gets_the_usual_gap_and_a_slow_visits_key_a_longer_one() -> None:
    of_visitors = records(
        Written({"user": e.visitor, "sku": e.item, "ts": e.time}, e.visitor) for e in views()
    )
    origin = views()[0].time
    stretched = [e._replace(time=origin + 7 * (e.time - origin) // 2) for e in views()]
    of_visits = records(map(flat, stretched))
    gaps = [settings_of(guess(sample))["sessions"]["gap"] for sample in (of_visitors, of_visits)]
    assert gaps == ["30m", "60m"]
    assert "visitor's key" in guess(of_visitors).gap_evidence


def test_placeholders_are_no_session_keys() -> None:
    lost = [Written({**flat(e).value, "sid": "undefined"}, "undefined") for e in views()[:20]]  # type: ignore[dict-item]
    proposal = guess(records(iter([*map(flat, views()), *lost])))
    assert settings_of(proposal)["clicks"]["ignore_keys"] == ["undefined"]


def test_keys_in_several_partitions_are_named() -> None:
    sample = [
        SampledRecord((r.topic(), number % 3, number, None, r.value(), r.timestamp()), [])
        for number, r in enumerate(records(map(flat, views())))
    ]
    shown = settings_text(guess(sample), "shop.clicks")
    assert "have no record key" in shown
    assert "session keys are in several of 3 partitions" in shown


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([], "the topic is empty"),
        ([None] * 9, "9 null values"),
        ([b"\x80\xff" * 9] * 9, "9 were not read (no JSON): for Avro"),
        ([b'[{"a": 1}]'] * 9, "9 were not read (JSON lists): write one record for each click"),
        ([b"\0\0\0\0\1abc"] * 9, "set clicks.registry_url"),
        ([b'\0\0\0\0\1{"a": 1}'] * 9, "five bytes of a schema registry's header"),
        ([{"session": "a", "item": "b", "time": NOW}], "1 records are few"),
        ([{"session": "a", "item": "b", "time": 1}] * 40, "no field can be clicks.session_field"),
        ([{f"f{n}": n for n in range(10_000)}] * 3, "all beyond 1,000 values of 3 records"),
        ([{"a\nb": 1, "": 2}] * 3, "2 names of fields, empty or with a line break"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_what_gives_no_proposal_says_why(values: list[Value], said: str) -> None:
    proposal = guess_values(values)
    assert proposal.missing
    assert proposal.doubts
    assert said in settings_text(proposal, "shop.clicks")


def test_clicks_among_garbage_are_found_and_the_garbage_is_counted() -> None:
    mixed = [b"\xff", None, b"[]", b"5"]
    written = [one for e in views() for one in (flat(e), Written(mixed[e.number % 4]))]
    sample = records(iter(written))
    proposal = guess(sample)
    assert sessions_by(proposal, sample) == sessions_in(views())
    assert any("records were not read" in doubt for doubt in proposal.doubts)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.lists(anything | st.binary(max_size=20), max_size=12), st.text(max_size=9))
def test_any_sample_gives_a_settings_file_that_can_be_read(values: list[object], name: str) -> None:
    encoded = [
        value if isinstance(value, bytes) else json.dumps(value).encode() for value in values
    ]
    proposal = guess_values(encoded)
    groups = tomllib.loads(settings_text(proposal, name))
    assert groups["clicks"].pop("topic") == name
    load_settings(**groups)
