from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ader_stream.stream.clicks.refusals import RECENT_CLICKS, RefusalRule, Refusals


def take(refusals: Refusals, outcomes: str) -> list[str]:
    """Take clicks, ``x`` for one that is refused; return what was said to the refusals."""
    said = []
    for outcome in outcomes:
        if outcome == "x":
            said.append(refusals.refuse())
        else:
            refusals.accepted += 1
    return said


def test_more_in_a_row_than_the_run_are_too_many() -> None:
    assert take(Refusals(RefusalRule(run=2)), "xx.xxx") == [""] * 4 + ["3 clicks in a row"]


def test_more_than_the_ratio_of_the_last_thousand_are_too_many() -> None:
    refusals = Refusals(RefusalRule(ratio=0.25))
    assert not any(take(refusals, "xx.." * (RECENT_CLICKS // 8) + "...." * (RECENT_CLICKS // 8)))
    assert take(refusals, "x") == [""]  # an old one has left
    assert take(refusals, "xx") == ["", "251 of the last 1000 clicks"]


def test_the_ratio_says_nothing_before_a_thousand_clicks() -> None:
    assert not any(take(Refusals(RefusalRule(ratio=0.01)), "x." * 499))


@pytest.mark.parametrize("rule", [RefusalRule(ratio=1, run=RECENT_CLICKS)])
def test_limits_can_be_switched_off(rule: RefusalRule) -> None:
    assert not any(take(Refusals(rule), "x" * 3 * RECENT_CLICKS))


def test_a_memory_fits_into_a_commits_metadata() -> None:
    refusals = Refusals(RefusalRule())
    take(refusals, "x." * 2000)
    assert len(refusals.memory()) <= 251


@given(
    parts=st.lists(st.tuples(st.integers(0, 1200), st.integers(0, 40)), max_size=12),
    run=st.integers(1, 30),
    ratio=st.floats(0.01, 0.2),
)
def test_who_starts_again_counts_as_if_it_had_never_stopped(
    parts: list[tuple[int, int]], run: int, ratio: float
) -> None:
    outcomes = ["." * accepted + "x" * refused for accepted, refused in parts]
    rule = RefusalRule(ratio, run)
    steady, memory, history = Refusals(rule), "", ""
    for part in outcomes:
        restarted = Refusals(rule, memory)
        said = take(restarted, part)
        assert said == take(steady, part)
        for number, said_at in enumerate(said, 1):
            so_far = history + part[: len(part) - len(said) + number]
            assert said_at == expected(so_far, rule)
        memory, history = restarted.memory(), history + part


def expected(outcomes: str, rule: RefusalRule) -> str:
    """What is to be said after these outcomes, counted plainly."""
    recent = outcomes[-RECENT_CLICKS:]
    run = len(recent) - len(recent.rstrip("x"))
    refused = recent.count("x")
    if run > rule.run:
        return f"{run} clicks in a row"
    if len(recent) == RECENT_CLICKS and refused > rule.ratio * RECENT_CLICKS:
        return f"{refused} of the last {RECENT_CLICKS} clicks"
    return ""


def test_one_wrong_clock_stops_nobody_and_many_do() -> None:
    refusals = Refusals(RefusalRule(run=2))
    assert [refusals.refuse("future", b"phone") for _ in range(9)] == [""] * 9
    assert refusals.refuse("late", b"other") == ""
    assert refusals.refuse("future", b"third") == "3 clicks in a row"


@pytest.mark.parametrize("key", [None, b"phone"])
def test_a_record_without_a_key_is_anybodys(key: bytes | None) -> None:
    refusals = Refusals(RefusalRule(run=2))
    assert any(refusals.refuse("late", key) for _ in range(3)) == (key is None)
