from __future__ import annotations

from typing import Any

import pytest

from ader_stream.stream.model_registry.lineage import (
    TrainedBefore,
    last_block_to_retrain,
    next_offsets,
    spans_behind,
)
from ader_stream.stream.model_registry.manifest import Manifest
from ader_stream.types import Session
from tests.fakes import changed, example_manifest

PLACES = [{"partition": 0, "first_offset": 3, "next_offset": 9}]
YEAR_3000 = 32_503_680_000_000


def manifest(version: int, first: int | None, last: int | None, **run: Any) -> Manifest:
    """A version trained on sessions of some time, of the topic "before", published in 2001."""
    times = {"first_time": first, "last_time": last, "published_at": 10**12}
    place = {"offsets": PLACES, "sessions_topic_id": "before"}
    return example_manifest(version, run=place | times | run)


def trained(*manifests: Manifest) -> TrainedBefore:
    return TrainedBefore({one.version: one for one in manifests}, "now")


def covered(before: TrainedBefore, *times: int) -> list[int]:
    """Times at which a session that ends then was trained on."""
    return [time for time in times if before.covers(Session("a", ("x", "y"), (time - 1, time)))]


def undecided(
    *, status: str = "rejected", next_offset: int = 3, reason: str | None = "few"
) -> Manifest:
    """A version of blocks 4 and 5, of which the gate could not tell whether it is sound."""
    place = {"partition": 0, "first_offset": 3, "next_offset": next_offset}
    gate = {"undecided": reason}
    made = manifest(1, None, None, offsets=[place])
    return changed(made, status=status, blocks=[4, 5], gate=gate)


def test_blocks_that_the_gate_could_not_judge_are_to_be_joined_with_the_next_one() -> None:
    assert last_block_to_retrain(undecided()) == 5
    assert next_offsets(undecided(), "before") == {0: 3}


@pytest.mark.parametrize(
    "newest",
    [
        None,
        manifest(1, 0, 1),
        undecided(status="accepted"),
        undecided(next_offset=9),
        undecided(reason=None),
        changed(undecided(), gate=None),
    ],
)
def test_what_was_read_for_good_is_not_joined(newest: Manifest | None) -> None:
    assert last_block_to_retrain(newest) is None


def test_reading_continues_behind_the_newest_version_of_the_same_topic() -> None:
    version = manifest(4, 100, 199)
    assert next_offsets(version, "before") == {0: 9}
    assert next_offsets(version, "now") == {}
    assert next_offsets(None, "now") == {}


def test_what_versions_of_an_earlier_topic_were_trained_on_is_known_by_its_time() -> None:
    before = trained(manifest(1, 100, 199), manifest(2, 200, 299), manifest(3, 500, 599))
    assert covered(before, 99, 100, 199, 250, 299, 300, 499, 500, 599, 600) == [
        *(100, 199, 250, 299, 500, 599)
    ]


def test_versions_that_were_pruned_were_trained_on_what_lies_between_the_others() -> None:
    before = trained(manifest(3, 300, 399), manifest(4, 400, 499), manifest(7, 700, 799))
    assert covered(before, -5, 0, 299, 350, 499, 500, 699, 799, 800) == [
        *(-5, 0, 299, 350, 499, 500, 699, 799)
    ]


def test_nothing_of_this_topic_was_trained_on_before() -> None:
    assert not trained(manifest(1, 100, 199, sessions_topic_id="now"))
    assert not trained(manifest(1, 100, 199, offsets=[]))
    assert not trained()


def test_sessions_that_a_wrong_clock_has_put_after_the_versions_publishing_are_still_to_come() -> (
    None
):
    before = trained(manifest(1, 100, 199), manifest(2, YEAR_3000, YEAR_3000 + 5))
    assert covered(before, 150, 250, 10**12 + 1, YEAR_3000) == [150]


def test_all_up_to_its_publishing_was_trained_on_before_a_version_whose_clock_was_wrong() -> None:
    before = trained(manifest(5, YEAR_3000, YEAR_3000 + 5))
    assert covered(before, 0, 10**12, 10**12 + 1, YEAR_3000) == [0, 10**12]


@pytest.mark.parametrize(
    ("cut", "found"),
    [({"blocks.origin": 1000, "blocks.length": 100}, [1400, 1599]), ({}, [])],
    ids=["recorded", "not recorded"],
)
def test_a_version_that_names_neither_topic_nor_times_was_trained_on_its_blocks(
    cut: dict[str, int], found: list[int]
) -> None:
    old = changed(manifest(1, None, None, sessions_topic_id=""), blocks=[4, 5], cut=cut)
    assert covered(trained(old), 1399, 1400, 1599, 1600) == found


def test_a_version_without_a_session_was_trained_on_none() -> None:
    cut = {"blocks.origin": 0, "blocks.length": 1}
    assert not trained(changed(manifest(1, None, None), cut=cut))


def line(*versions: tuple[int, int | None, int]) -> dict[int, Manifest]:
    """Versions, their parents, and how many blocks each was trained on: ten offsets a version."""
    return {
        version: changed(
            manifest(version, 0, 1, offsets=[hash_share(version)]),
            parent=parent,
            blocks=list(range(blocks)),
        )
        for version, parent, blocks in versions
    }


def hash_share(version: int, **other: Any) -> dict[str, Any]:
    place = {"partition": 0, "first_offset": 10 * version, "next_offset": 10 * version + 10}
    return place | other


@pytest.mark.parametrize(
    ("blocks", "versions"),
    [(0, []), (1, [4]), (2, [4, 2]), (3, [4, 2]), (4, [4, 2, 1]), (9, [4, 2, 1])],
)
def test_the_last_blocks_are_those_of_a_version_and_its_parents(
    blocks: int, versions: list[int]
) -> None:
    manifests = line((1, None, 1), (2, 1, 2), (3, 2, 1), (4, 2, 1))
    spans = spans_behind(manifests, 4, "before", blocks)
    assert spans == [{0: (10 * version, 10 * version + 10)} for version in versions]


@pytest.mark.parametrize(
    "other",
    [
        {"sessions_topic_id": "another"},
        {"offsets": []},
        {"offsets": [hash_share(1, first_offset=None)]},
    ],
)
def test_the_row_of_last_blocks_ends_where_their_place_is_not_known(other: dict[str, Any]) -> None:
    manifests = line((1, None, 1), (2, 1, 1))
    manifests[1] = changed(manifests[1], run=other)
    assert spans_behind(manifests, 2, "before", 9) == [{0: (20, 30)}]
    assert spans_behind({2: manifests[2]}, 2, "before", 9) == [{0: (20, 30)}]
