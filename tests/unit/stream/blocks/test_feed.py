from __future__ import annotations

import pytest

from ader_stream.errors import OffsetError, TopicError
from ader_stream.stream.avro.codec import decode, encode
from ader_stream.stream.blocks.feed import BlockFeed, TrainingBlock
from ader_stream.stream.sessions.open.session import OpenSession
from ader_stream.stream.sessions.outputs import BlockCounts, BlockEnd, WatermarkReset
from ader_stream.stream.sessions.records.session_records import encode_decision, encode_outputs
from ader_stream.stream.telemetry.lag import Unread
from tests.fakes import FakeKafka

TOPIC = "sessions"


def feed(kafka: FakeKafka, start: dict[int, int] | None = None, partitions: int = 2) -> BlockFeed:
    feed = BlockFeed(kafka, TOPIC, partitions, start or {})
    feed.poll(0)
    return feed


def write(kafka: FakeKafka, partition: int, *outputs: OpenSession | BlockEnd) -> None:
    """Write sessions and block ends; these count the sessions that were written before them."""
    for output in outputs:
        counts = BlockCounts(sessions=sessions_of(kafka, partition, output.block))
        counted = BlockEnd(output.block, counts) if isinstance(output, BlockEnd) else output
        for value, headers in encode_outputs(partition, [counted]):
            kafka.append(TOPIC, value, str(partition), headers, partition)


def sessions_of(kafka: FakeKafka, partition: int, block: int) -> int:
    decoded = [decode(r.value(), r.headers()) for r in kafka.records(TOPIC, partition)]
    batches = [value for name, value in decoded if name == "SessionBatch"]
    return sum(len(value["sessions"]) for value in batches if value["block"] == block)


def end(block: int) -> BlockEnd:
    return BlockEnd(block, BlockCounts())


def session(key: str, block: int, *times: int) -> OpenSession:
    at = [*times] or [block * 100]
    return OpenSession.of(key, block, at, [f"at {time}" for time in at])


def keys(block: TrainingBlock | None) -> list[str]:
    assert block is not None
    return list(block.sessions.keys())


def test_blocks_that_end_again_after_a_reset_are_given_out_with_all_that_belongs_to_them(
    kafka: FakeKafka,
) -> None:
    waiting = feed(kafka, partitions=1)
    write(kafka, 0, end(-1), session("a", 0), end(0), end(1), end(2))
    value, headers = encode_decision(0, WatermarkReset(5, 100, 1))
    kafka.append(TOPIC, value, "0", headers, 0)
    waiting.poll(0)
    assert waiting.waiting() == [0]
    write(kafka, 0, session("b", 1), end(1))
    waiting.poll(0)
    assert keys(waiting.next_block(1)) == ["a"]
    assert keys(waiting.next_block(1)) == ["b"]


def test_a_block_is_complete_when_every_partition_has_ended_it(kafka: FakeKafka) -> None:
    waiting = feed(kafka)
    write(kafka, 0, end(-1), session("a", 0), end(0))
    waiting.poll(0)
    assert waiting.next_block(1) is None
    write(kafka, 1, end(-1), session("b", 0))
    waiting.poll(0)
    assert waiting.waiting() == []
    write(kafka, 1, end(0))
    waiting.poll(0)
    assert waiting.waiting() == [0]
    assert keys(waiting.next_block(1)) == ["a", "b"]


def test_what_was_not_read_of_each_partition_is_known(kafka: FakeKafka) -> None:
    write(kafka, 0, end(-1), session("a", 0))
    waiting = feed(kafka)
    assert [waiting.unread()[p].records for p in (0, 1)] == [0, 0]
    kafka.append(TOPIC, None, timestamp=5_000)
    kafka.append(TOPIC, None, timestamp=6_000)
    assert waiting.unread()[0].records == 2
    waiting.poll(0)
    assert waiting.unread() == {0: Unread(0, 6_000), 1: Unread(0, None)}


def test_a_block_is_given_out_once(kafka: FakeKafka) -> None:
    write(kafka, 0, end(-1), session("a", 0), end(0))
    waiting = feed(kafka, partitions=1)
    assert keys(waiting.next_block(1)) == ["a"]
    assert waiting.next_block(1) is None


def test_a_partition_that_begins_later_has_ended_the_blocks_before(kafka: FakeKafka) -> None:
    write(kafka, 0, end(-1), session("a", 0), end(0), session("b", 1), end(1))
    write(kafka, 1, end(4), session("z", 5))
    waiting = feed(kafka)
    assert waiting.waiting() == [0, 1]


def test_blocks_come_in_order_one_at_a_time(kafka: FakeKafka) -> None:
    write(kafka, 0, end(-1), session("a", 0), end(0), session("b", 1), end(1))
    waiting = feed(kafka, partitions=1)
    assert [waiting.next_block(1).blocks, waiting.next_block(1).blocks] == [(0,), (1,)]


def test_blocks_without_a_session_are_passed_over(kafka: FakeKafka) -> None:
    write(kafka, 0, end(-1), end(0), end(1), session("a", 2), end(2))
    assert feed(kafka, partitions=1).next_block(1).blocks == (2,)


def test_short_blocks_are_joined_until_they_have_enough_sessions(kafka: FakeKafka) -> None:
    write(kafka, 0, end(-1), session("a", 0), end(0), session("b", 1), end(1), session("c", 2))
    waiting = feed(kafka, partitions=1)
    assert waiting.next_block(3) is None
    write(kafka, 0, end(2), session("d", 3), end(3))
    waiting.poll(0)
    block = waiting.next_block(3)
    assert (block.blocks, keys(block)) == ((0, 1, 2), ["a", "b", "c"])
    assert waiting.waiting() == [3]


@pytest.mark.parametrize("all_waiting", [False, True])
def test_blocks_that_no_version_could_be_judged_by_are_joined_with_one_more(
    kafka: FakeKafka, all_waiting: bool
) -> None:
    write(kafka, 0, end(-1), session("a", 0), end(0), session("b", 1), end(1))
    waiting = feed(kafka, partitions=1)
    waiting.poll(0)
    assert waiting.next_block(1, all_waiting=all_waiting, last_block_to_retrain=1) is None
    write(kafka, 0, session("c", 2), end(2))
    waiting.poll(0)
    waiting.poll(0)
    block = waiting.next_block(1, all_waiting=all_waiting, last_block_to_retrain=1)
    assert (block.blocks, keys(block)) == ((0, 1, 2), ["a", "b", "c"])


def test_a_block_that_is_to_be_read_again_says_so(kafka: FakeKafka) -> None:
    write(kafka, 0, end(-1), session("a", 0), end(0))
    block = feed(kafka, partitions=1).next_block(1)
    assert (block.is_unread, block.unread().is_unread) == (False, True)
    again = feed(kafka, block.unread().next_offsets, partitions=1)
    assert keys(again.next_block(1)) == ["a"]


def test_all_blocks_that_wait_can_be_had_as_one(kafka: FakeKafka) -> None:
    write(kafka, 0, end(-1), session("a", 0), end(0), session("b", 1), end(1), session("c", 2))
    write(kafka, 0, end(2), end(3), session("d", 4))
    waiting = feed(kafka, partitions=1)
    assert waiting.next_block(1, all_waiting=True) is None, "there may be more to read"
    waiting.poll(0)
    block = waiting.next_block(1, all_waiting=True)
    assert (block.blocks, keys(block)) == ((0, 1, 2), ["a", "b", "c"])
    assert waiting.next_block(1, all_waiting=True) is None


def test_sessions_are_sorted_by_last_time_first_time_and_key(kafka: FakeKafka) -> None:
    write(kafka, 0, end(-1), session("d", 0, 10, 50), session("c", 0, 20, 50), end(0))
    write(kafka, 1, end(-1), session("b", 0, 20, 50), session("e", 0, 5, 40), end(0))
    assert keys(feed(kafka).next_block(1)) == ["e", "d", "b", "c"]


def test_reading_continues_behind_the_end_of_the_last_block_given_out(kafka: FakeKafka) -> None:
    write(kafka, 0, end(-1), session("a", 0), end(0), session("c", 1), end(1))
    write(kafka, 1, end(-1), end(0), session("d", 1))
    first = feed(kafka)
    offsets = first.next_block(1).next_offsets
    assert offsets == {0: 3, 1: 2}
    write(kafka, 1, end(1))
    first.poll(0)
    again = feed(kafka, dict(offsets))
    one, other = again.next_block(1), first.next_block(1)
    assert (one.blocks, one.next_offsets) == (other.blocks, other.next_offsets)
    assert keys(one) == keys(other) == ["c", "d"]


def test_a_partition_that_has_not_got_there_is_read_from_where_it_was(kafka: FakeKafka) -> None:
    """Its first block lies after the one given out: that it begins there must be seen again."""
    write(kafka, 0, end(-1), session("a", 0), end(0))
    write(kafka, 1, end(4), session("z", 5))
    offsets = feed(kafka).next_block(1).next_offsets
    assert offsets == {0: 3, 1: 0}
    write(kafka, 0, session("b", 1), end(1))
    assert keys(feed(kafka, dict(offsets)).next_block(1)) == ["b"]


def test_what_else_stands_in_the_topic_is_passed_over(kafka: FakeKafka) -> None:
    advance = {"partition": 0, "next_offset": 5, "watermark": 7}
    write(kafka, 0, end(-1), session("a", 0))
    value, headers = encode("IdleAdvance", advance)
    kafka.append(TOPIC, value, "0", headers, 0)
    write(kafka, 0, end(0))
    assert keys(feed(kafka, partitions=1).next_block(1)) == ["a"]


def test_a_topic_that_was_trimmed_is_read_from_its_first_offset(kafka: FakeKafka) -> None:
    write(kafka, 0, end(-1), session("a", 0), end(0), session("b", 1), end(1))
    kafka.trimmed[TOPIC, 0] = 3
    assert keys(feed(kafka, partitions=1).next_block(1)) == ["b"]


def test_sessions_that_were_deleted_before_they_were_trained_on_are_named(
    kafka: FakeKafka,
) -> None:
    write(kafka, 0, end(-1), session("a", 0), end(0), session("b", 1), end(1))
    kafka.trimmed[TOPIC, 0] = 4
    with pytest.raises(OffsetError, match=r"sessions/0: 1 records, offsets 3 to 3, were.*reset"):
        feed(kafka, {0: 3}, partitions=1)


def test_a_partition_that_is_added_later_is_waited_for(kafka: FakeKafka) -> None:
    kafka.partitions[TOPIC] = 2
    waiting = feed(kafka)
    write(kafka, 0, end(-1), session("a", 0), end(0))
    kafka.partitions[TOPIC] = 3
    waiting.grow()
    write(kafka, 1, end(-1), end(0))
    waiting.poll(0)
    assert waiting.next_block(1) is None
    write(kafka, 2, end(-1), session("c", 0), end(0))
    waiting.poll(0)
    assert keys(waiting.next_block(1)) == ["a", "c"]


def test_sessions_that_a_version_was_trained_on_are_left_out_and_counted(kafka: FakeKafka) -> None:
    write(kafka, 0, end(-1), session("a", 0), end(0))
    write(kafka, 0, session("b", 1, 110), session("c", 1, 190), end(1), session("d", 2), end(2))
    feed = BlockFeed(kafka, TOPIC, 1, {}, is_trained=lambda session: session.times[-1] < 150)
    feed.poll(0)
    trained, partly, new = (feed.next_block(1) for _ in range(3))
    assert (keys(trained), trained.blocks, trained.trained_before) == ([], (), {0: 1})
    assert (keys(partly), partly.blocks, partly.trained_before) == (["c"], (1,), {1: 1})
    assert (keys(new), new.blocks, new.trained_before) == (["d"], (2,), {})
    assert partly.first_offsets == trained.next_offsets


def test_only_blocks_that_are_trained_on_are_named_where_several_are_joined(
    kafka: FakeKafka,
) -> None:
    write(kafka, 0, end(-1), session("a", 0), end(0), session("b", 1), end(1), session("c", 2))
    write(kafka, 0, end(2))
    feed = BlockFeed(kafka, TOPIC, 1, {}, is_trained=lambda session: session.key == "b")
    feed.poll(0)
    block = feed.next_block(3)
    assert (keys(block), block.blocks) == (["a", "c"], (0, 2))


def test_a_block_names_the_topic_of_its_offsets(kafka: FakeKafka) -> None:
    write(kafka, 0, end(-1), session("a", 0), end(0))
    feed = BlockFeed(kafka, TOPIC, 1, {}, topic_id=TOPIC)
    feed.poll(0)
    assert feed.next_block(1).topic_id == TOPIC


def test_nothing_is_read_from_a_topic_that_was_made_again_meanwhile(kafka: FakeKafka) -> None:
    write(kafka, 0, end(-1), session("a", 0), end(0))
    feed = BlockFeed(kafka, TOPIC, 1, {}, topic_id=TOPIC)
    feed.poll(0)
    kafka.topic_ids[TOPIC] = "another"
    with pytest.raises(TopicError, match=r"deleted and created again.*restart this worker"):
        feed.next_block(1)


def test_what_was_given_out_is_read_again_as_far_as_it_is_still_there(kafka: FakeKafka) -> None:
    waiting = feed(kafka, partitions=1)
    write(
        kafka, 0, end(-1), session("a", 0), end(0), session("b", 1), end(1), session("c", 2), end(2)
    )
    waiting.poll(0)
    given = [waiting.next_block(1) for _ in range(3)]
    spans = [
        {p: (start, block.next_offsets[p]) for p, start in block.first_offsets.items()}
        for block in given
        if block
    ]
    again = waiting.read_again(spans[:2])
    assert (keys(again), again.blocks, again.next_offsets) == (["a", "b"], (0, 1), {})
    kafka.trimmed[TOPIC, 0] = spans[1][0][0]
    assert keys(waiting.read_again(spans)) == ["b", "c"]
    assert not waiting.read_again([]).sessions
