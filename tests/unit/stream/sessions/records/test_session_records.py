from __future__ import annotations

from ader_stream.stream.avro.codec import decode
from ader_stream.stream.sessions.open.session import OpenSession
from ader_stream.stream.sessions.outputs import BlockCounts, BlockEnd
from ader_stream.stream.sessions.records.session_records import (
    BATCH_BYTES,
    decode_sessions,
    encode_outputs,
)
from ader_stream.types import Session

Output = OpenSession | BlockEnd


def session(key: str, block: int = 0, clicks: int = 2) -> OpenSession:
    return OpenSession.of(key, block, [*range(clicks)], [f"i{i}" for i in range(clicks)])


def encoded(outputs: list[Output], partition: int = 3) -> list[tuple[str, dict[str, object]]]:
    return [decode(value, headers) for value, headers in encode_outputs(partition, outputs)]


def shape(outputs: list[Output]) -> list[tuple[str, object]]:
    """Type, and the keys of a batch or the block of an end."""
    return [
        (name, value["block"] if name == "BlockEnd" else [s["key"] for s in value["sessions"]])
        for name, value in encoded(outputs)
    ]


def test_sessions_of_one_block_share_a_record() -> None:
    assert shape([session("a"), session("b")]) == [("SessionBatch", ["a", "b"])]


def test_a_block_end_stands_behind_the_sessions_before_it_and_before_those_after_it() -> None:
    outputs: list[Output] = [session("a"), BlockEnd(0, BlockCounts()), session("b", block=1)]
    assert shape(outputs) == [("SessionBatch", ["a"]), ("BlockEnd", 0), ("SessionBatch", ["b"])]


def test_sessions_of_two_blocks_never_share_a_record() -> None:
    assert shape([session("a"), session("b", block=1)]) == [
        ("SessionBatch", ["a"]),
        ("SessionBatch", ["b"]),
    ]


def test_a_record_is_full_at_a_number_of_bytes() -> None:
    half = OpenSession.of("a", 0, [1], ["x" * (BATCH_BYTES // 2)])
    outputs: list[Output] = [session("b"), half, session("c"), half, session("d")]
    assert shape(outputs) == [("SessionBatch", ["b", "a", "c"]), ("SessionBatch", ["a", "d"])]
    assert all(len(value) <= BATCH_BYTES for value, _ in encode_outputs(0, outputs))


def test_fields_that_pass_through_fill_a_record_as_items_do() -> None:
    url = "https://shop.example/?utm_source=" + "q" * 900
    visits = [
        OpenSession.of(f"v{n}", 0, [n], ["sku"], {}, {0: {"url": url, "ua": "é" * 100}})
        for n in range(1_000)
    ]
    records = [*encode_outputs(0, visits)]
    assert len(records) > 1
    assert all(len(value) <= BATCH_BYTES for value, _ in records)
    found = [s.key for r in records for s in decode_sessions(decode(*r)[1])]
    assert found == [visit.key for visit in visits]


def test_nothing_is_written_for_no_output() -> None:
    assert encoded([]) == []


def test_records_say_partition_block_and_counts() -> None:
    [(_, batch), (_, end)] = encoded([session("a"), BlockEnd(0, BlockCounts(5, 2, 1))])
    assert (batch["partition"], batch["block"]) == (3, 0)
    assert end == {"partition": 3, "block": 0, "clicks": 5, "sessions": 2, "late": 1}


def test_a_session_comes_back_with_what_was_late_and_what_passes_through() -> None:
    opened = OpenSession.of("a", 0, [10, 20], ["shoe", "hat"], {1: 5}, {1: {"price": "1"}})
    [(_, batch)] = encoded([opened])
    [back] = decode_sessions(batch)
    assert back == Session("a", ("shoe", "hat"), (10, 20), {1: 5}, {1: {"price": "1"}})
