from __future__ import annotations

from ader_stream.stream.avro.codec import decode
from ader_stream.stream.scores.score_log import (
    Score,
    ScoreKey,
    decode_score,
    encode_score,
    read_scores,
)
from ader_stream.types import RECIPROCAL_UNIT, Counts
from tests.fakes import FakeKafka

KEY = ScoreKey(block=4, version=3, partition=1)
SCORE = Score(9, Counts(5, 2, 3, RECIPROCAL_UNIT, RECIPROCAL_UNIT + 7, 1))


def test_a_score_comes_back_from_its_record() -> None:
    _, value, headers = encode_score(KEY, SCORE)
    assert decode_score(decode(value, headers)[1]) == (KEY, SCORE)


def test_a_score_replaces_the_older_one_of_its_block_version_and_partition() -> None:
    assert encode_score(KEY, SCORE)[0] == "4/3/1"


def test_clicks_that_no_version_scored_have_a_record_of_their_own() -> None:
    key, value, headers = encode_score(ScoreKey(4, None, 1), Score(9))
    assert key == "4/none/1"
    assert decode_score(decode(value, headers)[1]) == (ScoreKey(4, None, 1), Score(9))


def test_counts_add_up() -> None:
    assert SCORE.plus(2, Counts(targets=1, unknown=1)) == Score(
        11, Counts(6, 2, 3, RECIPROCAL_UNIT, RECIPROCAL_UNIT + 7, 2)
    )


def test_the_newest_score_of_a_key_is_read_last() -> None:
    kafka = FakeKafka()
    for score in (Score(1), SCORE):
        key, value, headers = encode_score(KEY, score)
        kafka.append("scores", value, key, headers)
    assert list(read_scores(kafka, "scores")) == [(KEY, Score(1)), (KEY, SCORE)]
