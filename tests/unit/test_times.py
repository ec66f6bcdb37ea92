from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ader_stream.times import duration_text, instant_text, parse_duration, parse_instant

milliseconds = st.integers(0, 10**14)


@given(milliseconds)
def test_a_duration_that_was_written_is_read_again(ms: int) -> None:
    assert parse_duration(duration_text(ms)) == ms


@given(milliseconds | st.integers(-(10**14), 0))
def test_an_instant_that_was_written_is_read_again(ms: int) -> None:
    assert parse_instant(instant_text(ms)) == ms
