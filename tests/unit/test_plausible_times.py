from __future__ import annotations

import random
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ader_stream.plausible_times import (
    EARLIEST_MS,
    TimeProblem,
    TimeSample,
    describe_time,
    find_time_problem,
    is_absurd,
)
from ader_stream.types import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS

NOW = 1_764_460_000_000  # 2025-11-29T23:46:40Z
YEAR = 365 * DAY_MS


def live(count: int = 200, since: int = NOW - DAY_MS) -> list[int]:
    """Event times of a stream, some minutes apart."""
    rng = random.Random(7)
    return [since + number * MINUTE_MS + rng.randrange(MINUTE_MS) for number in range(count)]


def arrived(times: Iterable[int], read: Callable[[int], int] = int) -> list[TimeSample]:
    """Times as a unit makes them, beside timestamps that are right."""
    return [TimeSample(read(time), time + 40) for time in times]


def found(samples: list[TimeSample], unit: str = "ms") -> TimeProblem:
    problem = find_time_problem(samples, NOW, unit)
    assert problem is not None
    return problem


def test_a_live_stream_has_no_problem() -> None:
    assert find_time_problem(arrived(live()), NOW, "ms") is None


def test_nothing_is_said_of_no_sample() -> None:
    assert find_time_problem([], NOW, "ms") is None


@pytest.mark.parametrize("years", [1, 5, 20])
def test_old_clicks_that_are_sent_again_today_are_fine(years: int) -> None:
    old = live(since=NOW - years * YEAR)
    today = [TimeSample(time, NOW - 1_000 + number) for number, time in enumerate(old)]
    assert find_time_problem(today, NOW, "ms") is None


@pytest.mark.parametrize(
    ("unit", "right", "factor"),
    [
        ("ms", "s", 1 / 1_000),
        ("ms", "us", 1_000),
        ("ms", "ns", 1_000_000),
        ("s", "ms", 1_000),
        ("s", "us", 1_000_000),
        ("us", "ms", 1 / 1_000),
        ("us", "s", 1 / 1_000_000),
        ("us", "ns", 1_000),
    ],
)
def test_the_unit_that_the_times_are_in_is_named(unit: str, right: str, factor: float) -> None:
    problem = found(arrived(live(), lambda time: int(time * factor)), unit)
    assert (problem.level, problem.unit) == ("error", right)
    assert "200 of 200 event times are" in problem.text
    assert f"in {right} it would be 2025-11-2" in problem.text


def test_the_example_is_what_the_record_has_and_what_became_of_it() -> None:
    problem = found([TimeSample(1_717_410_158, NOW)])
    assert "1717410158 is 1970-01-20T21:03:30.158Z, in s it would be 2024-06-03T10:22:38Z" in (
        problem.text
    )


def test_a_few_other_times_do_not_hide_a_wrong_unit() -> None:
    samples = arrived(live(), lambda time: time // 1_000)
    samples[::50] = arrived([0, NOW, 5, 17])
    assert found(samples).unit == "s"


@pytest.mark.parametrize("others", [12, 100, 188])
def test_two_units_in_one_field_are_distinguished(others: int) -> None:
    times = live()
    samples = arrived(times[:others], lambda time: time // 1_000) + arrived(times[others:])
    random.Random(1).shuffle(samples)
    problem = found(samples)
    assert (problem.level, problem.unit) == ("error", "")
    assert f"two units in one field: {others} of 200 event times are in s (" in problem.text


@pytest.mark.parametrize("read", [lambda time: time % DAY_MS, lambda _: 0, lambda time: time // 60])
def test_times_of_1970_are_an_error_whatever_they_were(read: Callable[[int], int]) -> None:
    problem = found(arrived(live(), read))
    assert (problem.level, problem.unit) == ("error", "")
    assert "200 of 200 event times lie before the year 2000" in problem.text


@pytest.mark.parametrize("ahead", [2 * DAY_MS, 3 * YEAR, 600 * YEAR])
def test_times_of_the_future_are_an_error(ahead: int) -> None:
    problem = found(arrived(live(), lambda time: time + ahead))
    assert problem.level == "error"
    assert "lie in the future (it is 2025-11-29T23:46:40Z now)" in problem.text


def test_a_timestamp_that_is_a_copy_of_the_event_time_supports_no_future() -> None:
    copied = [TimeSample(time + YEAR, time + YEAR) for time in live()]
    assert "in the future" in found(copied).text


def test_a_log_that_is_older_than_the_clock_supports_no_time_after_its_own() -> None:
    written = live(since=NOW - 2 * YEAR)
    samples = [TimeSample(time + YEAR, time) for time in written]
    assert "in the future" in found(samples).text


def test_a_record_without_a_usable_timestamp_is_judged_by_the_clock() -> None:
    assert find_time_problem([TimeSample(time, 12) for time in live()], NOW, "ms") is None
    assert "in the future" in found([TimeSample(time + YEAR) for time in live()]).text


@pytest.mark.parametrize(("digits", "date"), [
    (20240603102238, "2024-06-03 10:22:38"),
    (20240603, "2024-06-03 00:00:00"),
    (202406031022, "2024-06-03 10:22:00"),
])  # fmt: skip
def test_a_date_that_is_written_as_digits_is_recognised(digits: int, date: str) -> None:
    problem = found([TimeSample(digits + number, NOW) for number in range(5)])
    assert (problem.level, f"digits look like {date}" in problem.text) == ("error", True)


@pytest.mark.parametrize("wrong", [0, 4 * 10**12])
def test_a_few_wrong_clocks_are_a_warning(wrong: int) -> None:
    samples = arrived(live())
    samples[0] = TimeSample(wrong, NOW)
    problem = found(samples)
    assert problem.level == "warning"
    assert "1 of 200 event times lie" in problem.text


def test_one_wrong_clock_alone_is_a_warning_for_it_may_be_the_first_of_many() -> None:
    assert found([TimeSample(4 * 10**12, NOW)]).level == "warning"


def test_times_that_are_all_alike_are_an_error() -> None:
    problem = found([TimeSample(NOW - HOUR_MS, time) for time in live()])
    assert (problem.level, "all 200 event times are alike" in problem.text) == ("error", True)


def test_a_handful_of_clicks_may_share_a_millisecond() -> None:
    assert find_time_problem([TimeSample(NOW - 5, NOW)] * 19, NOW, "ms") is None


def test_clicks_timed_by_their_own_record_may_come_at_once() -> None:
    assert find_time_problem([TimeSample(NOW, NOW)] * 200, NOW, "ms") is None


def test_a_time_that_stands_in_for_most_others_is_a_warning() -> None:
    samples = arrived(live())
    samples[:120] = [TimeSample(NOW - YEAR, sample.timestamp) for sample in samples[:120]]
    problem = found(samples)
    assert (problem.level, "120 of 200 event times are equal" in problem.text) == (
        "warning",
        True,
    )


def test_dates_without_a_time_of_day_are_a_warning() -> None:
    days = [TimeSample(NOW // DAY_MS * DAY_MS - day * DAY_MS, NOW) for day in range(30)]
    problem = found(days)
    assert (problem.level, "whole days" in problem.text) == ("warning", True)


@pytest.mark.parametrize("half_hours", [2, 4, 11, -10, -19])
def test_local_times_without_a_zone_are_a_warning(half_hours: int) -> None:
    shift = half_hours * HOUR_MS // 2
    problem = found(arrived(live(), lambda time: time + shift))
    side = "ahead of" if half_hours > 0 else "behind"
    assert problem.level == "warning"
    assert f"{abs(half_hours) / 2:g} hours {side} their records' timestamps" in problem.text


def test_a_pipeline_that_is_late_now_and_then_is_no_time_zone() -> None:
    late = [TimeSample(time, time + number * MINUTE_MS) for number, time in enumerate(live())]
    assert find_time_problem(late, NOW, "ms") is None


def test_times_without_a_unit_are_judged_without_naming_one() -> None:
    problem = found(arrived(live(), lambda time: time // 1_000), unit="")
    assert (problem.level, problem.unit) == ("error", "")
    assert "1,000 times too small: 1970-01-2" in problem.text


@given(st.lists(st.integers(EARLIEST_MS, NOW), max_size=19), st.integers(0, SECOND_MS))
def test_no_time_from_2000_to_its_timestamp_is_ever_an_error(times: list[int], delay: int) -> None:
    samples = [TimeSample(time, min(NOW, time + delay)) for time in times]
    problem = find_time_problem(samples, NOW, "ms")
    assert problem is None or problem.level == "warning"


@given(st.lists(st.tuples(st.integers(), st.integers()), min_size=1, max_size=40))
def test_any_numbers_are_judged(pairs: list[tuple[int, int]]) -> None:
    problem = find_time_problem([TimeSample(*pair) for pair in pairs], NOW, "us")
    if all(is_absurd(time, NOW) for time, _ in pairs):
        assert problem is not None


def test_times_out_of_the_calendar_are_reported_by_their_year() -> None:
    assert describe_time(-(10**15)) == "the year -29718"
    assert describe_time(EARLIEST_MS) == "2000-01-01T00:00:00Z"
