from __future__ import annotations

from ader_stream.paired import GROUPS, Pair, PairedCounts, Sums
from ader_stream.stream.scores.paired_log import (
    PairedFollower,
    PairedKey,
    encode_paired,
    read_paired,
)
from ader_stream.stream.scores.score_log import (
    Score,
    ScoreKey,
    encode_score,
    read_partitions,
    read_scores,
)
from tests.fakes import FakeKafka

TOPIC = "ader.scores"
KEY = PairedKey(block=4, stable=3, canary=5, partition=1)


def counts(clicks: int) -> PairedCounts:
    differences = tuple(Sums(clicks, group % 3 - 1, group - 30) for group in range(GROUPS))
    return PairedCounts(Sums(clicks * GROUPS, clicks, 7 * clicks), differences)


def write(kafka: FakeKafka, key: PairedKey, sums: PairedCounts) -> None:
    record_key, value, headers = encode_paired(key, sums)
    kafka.append(TOPIC, value, record_key, headers)


def test_sums_come_back_from_their_record() -> None:
    kafka = FakeKafka()
    write(kafka, KEY, counts(9))
    assert read_partitions(kafka, TOPIC)[1].paired == {KEY: counts(9)}


def test_a_record_replaces_the_older_one_of_its_block_versions_and_partition() -> None:
    assert encode_paired(KEY, counts(1))[0] == "pair/4/3/5/1"


def test_a_record_of_a_million_clicks_is_small() -> None:
    assert len(encode_paired(KEY, counts(1_000_000))[1]) < 1_000


def test_blocks_and_partitions_are_added_and_only_the_last_record_of_each_counts() -> None:
    kafka = FakeKafka()
    write(kafka, KEY, counts(1))
    write(kafka, KEY, counts(2))
    write(kafka, KEY._replace(partition=0), counts(3))
    write(kafka, KEY._replace(block=5), counts(4))
    write(kafka, KEY._replace(canary=6), counts(100))
    assert read_paired(kafka, TOPIC) == {
        Pair(3, 5): counts(2) + counts(3) + counts(4),
        Pair(3, 6): counts(100),
    }


def test_scores_and_sums_do_not_mistake_each_other() -> None:
    kafka = FakeKafka()
    write(kafka, KEY, counts(1))
    key, value, headers = encode_score(ScoreKey(4, 3, 1), Score(9))
    kafka.append(TOPIC, value, key, headers)
    assert dict(read_scores(kafka, TOPIC)) == {ScoreKey(4, 3, 1): Score(9)}
    assert read_paired(kafka, TOPIC) == {Pair(3, 5): counts(1)}


def test_a_follower_has_what_stood_there_and_what_comes() -> None:
    kafka = FakeKafka()
    write(kafka, KEY, counts(1))
    write(kafka, KEY._replace(canary=6), counts(100))
    follower = PairedFollower(kafka, TOPIC)
    follower.follow(Pair(3, 5))
    assert follower.poll()
    assert follower.counts == counts(1)
    write(kafka, KEY, counts(2))
    write(kafka, KEY._replace(partition=2), counts(5))
    assert follower.poll()
    assert follower.counts == counts(2) + counts(5)
    assert not follower.poll()


def test_a_follower_of_others_begins_again() -> None:
    kafka = FakeKafka()
    write(kafka, KEY, counts(1))
    write(kafka, KEY._replace(canary=6), counts(100))
    follower = PairedFollower(kafka, TOPIC)
    for pair, expected in ((Pair(3, 5), counts(1)), (Pair(3, 6), counts(100))):
        follower.follow(pair)
        follower.poll()
        assert follower.counts == expected
    follower.follow(None)
    assert (follower.pair, follower.poll(), follower.counts) == (None, False, PairedCounts())
