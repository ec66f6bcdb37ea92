from __future__ import annotations

from decimal import Decimal

import pytest

from ader_stream.stream.clicks.event_times import any_time_reader

AT = 1_717_410_158_253
SECOND = 1_717_410_158_000


@pytest.mark.parametrize(
    ("time_format", "written", "ms"),
    [
        ("ms", str(AT), AT),
        ("ms", 1_717_410_158_253.25, AT),
        ("ms", "1.717410158253E12", AT),
        ("ms", Decimal("1717410158252.5"), 1_717_410_158_252),
        ("s", "1717410158.253", AT),
        ("us", str(AT * 1_000), AT),
        ("us", 1_717_410_158_253_999.0, AT),
        ("ns", AT * 1_000_000, AT),
        ("ns", f"{AT}999999", AT),
        ("iso8601", "2024-06-03 10:22:38.253 UTC", AT),
        ("iso8601", "2024-06-03 10:22:38.253 +0000 UTC", AT),
        ("iso8601", "2024-06-03 12:22:38.253 +02:00", AT),
        ("iso8601", "2024-06-03t10:22:38.253z", AT),
        ("iso8601", "2024-06-03T10:22:38.253Z[UTC]", AT),
        ("iso8601", "2024-06-03T10:22:38.253[Etc/UTC]", AT),
        ("iso8601", "2024-06-03T12:22:38.253+02:00[Europe/Berlin]", AT),
        ("iso8601", "2024-06-03 10:22:38,253", AT),
        ("iso8601", "20240603T102238Z", SECOND),
        ("iso8601", "20240603102238", SECOND),
        ("iso8601", "20240603102238253", AT),
        ("iso8601", "Mon, 03 Jun 2024 10:22:38 GMT", SECOND),
        ("iso8601", "3 Jun 2024 12:22:38 +0200 (CEST)", SECOND),
        ("iso8601", [2024, 6, 3, 10, 22, 38, 253_000_000], AT),
        ("iso8601", [2024, 6, 3, 10, 22], 1_717_410_120_000),
    ],
)
def test_a_time_is_read_as_serialisers_write_it(time_format: str, written: object, ms: int) -> None:
    assert any_time_reader(time_format)(written) == ms


@pytest.mark.parametrize(
    "written",
    [
        "1717410158253",
        "2012123101010",
        "2024-06-03+02:00",
        "2024-06-03T10:22:38[Europe/Berlin]",
        "2024-06-03 10:22:38 +0200 UTC",
        "2024-06-03 10:22:38 CEST",
        "Mon, 03 Jun 2024 10:22:38",
        "Mon, 33 Jun 2024 10:22:38 GMT",
        "06/03/2024 10:22",
        "2024-06-03 10:22:38 UTC" + " " * 100,
        [2024, 6],
        [2024, 6, 3, True],
        [2024, 6, 3, 10, 22, 38, 10**30],
        {"$date": 5},
    ],
)
def test_a_time_that_may_be_another_one_is_none(written: object) -> None:
    assert any_time_reader("iso8601")(written) == -1


@pytest.mark.parametrize("time_format", ["ms", "s", "us", "ns"])
@pytest.mark.parametrize("written", ["", " 5", "+5", "٣", "0x10", "1_000", float("nan"), True])
def test_a_number_that_is_none_is_no_time(time_format: str, written: object) -> None:
    assert any_time_reader(time_format)(written) == -1
