from __future__ import annotations

from ader_stream.stream.sessions.event_ids import SEGMENT_OFFSETS, EventIds, Segment


def written(ids: EventIds) -> dict[int, Segment | None]:
    return dict(ids.take_segments())


def test_a_commit_writes_only_the_segment_that_has_changed() -> None:
    ids = EventIds(limit=10)
    ids.add("x", 5)
    ids.add("y", SEGMENT_OFFSETS + 5)
    assert [*written(ids)] == [0, 1]
    ids.add("z", SEGMENT_OFFSETS + 6)
    assert written(ids) == {
        1: Segment(1, ["y", "z"], [SEGMENT_OFFSETS + 5, SEGMENT_OFFSETS + 6], [])
    }
    assert written(ids) == {}


def test_a_segment_is_given_up_when_all_of_its_ids_are() -> None:
    ids = EventIds(limit=1)
    ids.add("x", 5)
    written(ids)
    ids.add("y", SEGMENT_OFFSETS)
    changed = written(ids)
    assert changed.pop(0) is None
    assert [*changed] == [1]


def test_an_id_that_was_removed_stays_removed_in_another_process() -> None:
    ids = EventIds(limit=10)
    for offset, name in enumerate("xyx"):
        ids.add(name, offset)
    ids.remove("x", SEGMENT_OFFSETS)
    again = EventIds(10, [segment for segment in written(ids).values() if segment])
    assert not again.add("y", SEGMENT_OFFSETS + 1)
    assert again.add("x", SEGMENT_OFFSETS + 2)


def test_the_oldest_id_says_where_the_log_is_needed_from() -> None:
    ids = EventIds(limit=2)
    assert ids.since is None
    for offset, name in enumerate("xyxz"):
        ids.add(name, offset)
    assert ids.since == 2


def test_long_ids_are_known_by_a_hash_and_take_no_more_than_a_short_one() -> None:
    ids = EventIds(limit=10)
    long_ones = ["x" * 100_000, "x" * 99_999, "é" * 30]
    assert all(ids.add(name, offset) for offset, name in enumerate(long_ones))
    [(_, segment)] = written(ids).items()
    assert segment is not None
    assert all(len(name.encode()) <= 40 for name in segment.ids)
    again = EventIds(10, [segment])
    assert not any(again.add(name, 10 + offset) for offset, name in enumerate(long_ones))
    again.remove(long_ones[0], 20)
    assert again.add(long_ones[0], 21)


def test_long_ids_that_an_earlier_version_wrote_are_known_and_written_short_again() -> None:
    ids = EventIds(10, [Segment(0, ["x" * 100_000], [5], [])])
    assert not ids.add("x" * 100_000, 6)
    [segment] = written(ids).values()
    assert segment is not None
    assert sum(map(len, segment.ids)) < 100
