"""Whatever bytes come in: a click that everything behind can write down, or a dead letter.

`fuzz.py` beside it does the same for as long as you like, with records that grow stranger.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ader_stream.errors import ClickError, IgnoredError, SettingsError
from ader_stream.stream.clicks.decoder import NOT_PLAIN, WATERMARK_HEADER, ClickDecoder
from ader_stream.stream.clicks.language.filters import parse_filter
from ader_stream.stream.clicks.language.paths import parse_field
from ader_stream.types import Click
from tests.fakes import FakeRecord
from tests.property.any_format import any_filter, any_format, any_path, any_text
from tests.property.any_record import SAMPLES, every_decoder, require_taken_or_refused


@pytest.fixture(scope="module")
def decoders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, ClickDecoder]]:
    folder: Path = tmp_path_factory.mktemp("schemas")
    with every_decoder(folder) as decoders:
        yield decoders


surrogates = st.characters(categories=["Cs"])
strange_text = st.text(surrogates, min_size=1, max_size=2) | st.text(max_size=5)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(10**18), 10**18)
    | st.integers(0, 10**13)
    | st.floats()
    | strange_text
)
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(strange_text, inner, max_size=3),
    max_leaves=6,
)
field_names = st.sampled_from(["session", "item", "time", "id", "price"])
json_fields = st.dictionaries(field_names | strange_text, json_values, max_size=4)
sound_fields = st.sampled_from([{}, {"session": "a", "item": 7, "time": 5}])
json_clicks = st.builds(
    lambda sound, fields: json.dumps(sound | fields).encode(), sound_fields, json_fields
)
names = st.sampled_from([*SAMPLES])


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    value = bytearray(draw(st.sampled_from([s for samples in SAMPLES.values() for s in samples])))
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, len(value)))
        value[place : place + draw(st.integers(0, 2))] = draw(st.binary(max_size=3))
    return bytes(value)


record_values = st.none() | st.binary(max_size=60) | mutated() | json_clicks
record_keys = st.none() | st.binary(max_size=6)
headers = st.none() | st.lists(
    st.tuples(
        st.just(WATERMARK_HEADER) | st.text(max_size=4),
        st.none() | st.binary(max_size=20) | st.integers().map(lambda n: str(n).encode()),
    ),
    max_size=3,
)
timestamps = st.integers(-(2**63), 2**63 - 1)


@pytest.mark.parametrize("name", SAMPLES)
def test_every_format_takes_its_own_clicks(decoders: Mapping[str, ClickDecoder], name: str) -> None:
    record = FakeRecord(SAMPLES[name][0], b"key", timestamp=5)
    assert require_taken_or_refused(decoders[name], record) == "click"


@settings(max_examples=300)
@given(name=names, key=record_keys, value=record_values, headers=headers, timestamp=timestamps)
def test_any_record_is_a_click_a_heartbeat_or_a_dead_letter(
    decoders: Mapping[str, ClickDecoder],
    name: str,
    key: bytes | None,
    value: bytes | None,
    headers: Any,
    timestamp: int,
) -> None:
    record = FakeRecord(value, key, headers=headers, timestamp=timestamp)
    require_taken_or_refused(decoders[name], record)


@settings(max_examples=300)
@given(value=json_clicks, key=record_keys)
def test_any_json_object_is_a_click_or_a_dead_letter(
    decoders: Mapping[str, ClickDecoder], value: bytes, key: bytes | None
) -> None:
    for name in decoders:
        if name.startswith("json"):
            require_taken_or_refused(decoders[name], FakeRecord(value, key, timestamp=5))


generators = st.integers(0, 2**32).map(random.Random)


@settings(max_examples=300)
@given(rng=generators)
def test_every_path_and_filter_of_the_language_is_parsed(rng: random.Random) -> None:
    parse_field(any_path(rng))
    parse_filter(any_filter(rng))


@settings(max_examples=300)
@given(text=generators.map(any_text) | st.text(max_size=20))
def test_any_other_text_is_parsed_or_refused_in_one_line(text: str) -> None:
    for parse in (parse_field, parse_filter):
        try:
            parse(text)
        except SettingsError as error:
            assert "expected" in str(error)
            assert "\n" not in str(error)


def decoded(decoder: ClickDecoder, record: FakeRecord) -> Click | str:
    try:
        return decoder.decode(record)
    except IgnoredError as error:
        return error.reason
    except ClickError:
        return ""


@settings(max_examples=500)
@given(
    rng=generators,
    values=st.lists(st.binary(max_size=8) | json_clicks, min_size=1, max_size=3),
    key=record_keys | json_clicks,
    headers=headers,
)
def test_whatever_paths_and_filter_say_a_record_is_a_click_ignored_or_a_dead_letter(
    rng: random.Random, values: list[bytes], key: bytes | None, headers: Any
) -> None:
    format_ = any_format(rng)
    decoder = ClickDecoder(format_)
    records = [FakeRecord(value, key, headers=headers, timestamp=5) for value in values]
    clicks = decoder.decode_plain(records)
    for at, record in enumerate(records):
        require_taken_or_refused(decoder, record)
        outcome = decoded(decoder, record)
        if clicks.times[at] != NOT_PLAIN:
            event_id = clicks.event_ids[at] if clicks.event_ids else None
            assert outcome == Click(clicks.keys[at], clicks.items[at], clicks.times[at], event_id)
        elif not (format_.extra or format_.explode):
            assert clicks.ignored.get(at, "") == outcome
