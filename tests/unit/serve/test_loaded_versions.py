from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from ader_stream.ader.data.vocabulary import Vocabulary
from ader_stream.ader.models.base import Architecture
from ader_stream.ader.models.encoders import build_model
from ader_stream.errors import ArtifactError
from ader_stream.paired import Pair
from ader_stream.serve.loaded_versions import LoadedVersions, Version

MODEL = build_model(Architecture(hidden=2, blocks=1, maxlen=3), n_items=1)


def version(number: int) -> Version:
    """Version t, trained on block t - 1."""
    return Version(number, number - 1, 0, MODEL, Vocabulary(), ())


@dataclass
class Log:
    """Loads versions, but not the damaged ones."""

    damaged: set[int] = field(default_factory=set)
    loads: list[int] = field(default_factory=list)

    def load(self, number: int) -> Version:
        self.loads.append(number)
        if number in self.damaged:
            raise ArtifactError(f"version {number} is damaged")
        return version(number)


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def versions(log: Log) -> LoadedVersions:
    """Versions 1 to 4; the last one is served."""
    versions = LoadedVersions(log.load)
    versions.set_last_blocks({number: number - 1 for number in range(1, 5)})
    versions.serve(version(4))
    return versions


def scoring(versions: LoadedVersions, block: int) -> int | None:
    found = versions.scoring(block)
    return found.number if found else None


def test_a_block_is_scored_by_the_newest_version_trained_before_it(
    versions: LoadedVersions,
) -> None:
    assert [scoring(versions, block) for block in range(6)] == [None, 1, 2, 3, 4, 4]


def test_joined_blocks_are_scored_by_a_version_that_knows_none_of_them(log: Log) -> None:
    versions = LoadedVersions(log.load)
    versions.set_last_blocks({1: 2, 2: 5})
    versions.serve(version(2))
    assert [scoring(versions, block) for block in (2, 3, 5, 6)] == [None, 1, 1, 2]


def test_before_anything_serves_nothing_scores(log: Log) -> None:
    versions = LoadedVersions(log.load)
    versions.set_last_blocks({1: 0})
    assert versions.served is None
    assert scoring(versions, 5) is None


def test_a_version_scores_from_the_moment_it_serves(versions: LoadedVersions) -> None:
    versions.set_last_blocks({number: number - 1 for number in range(1, 6)})
    assert scoring(versions, 9) == 4
    versions.serve(version(5))
    assert scoring(versions, 9) == 5


def test_a_version_is_loaded_once(versions: LoadedVersions, log: Log) -> None:
    assert versions.scoring(2) is versions.scoring(2)
    assert log.loads == [2]


def test_the_served_version_scores_without_being_loaded_again(
    versions: LoadedVersions, log: Log
) -> None:
    assert versions.scoring(4) is versions.served
    assert log.loads == []


def test_a_version_that_cannot_be_loaded_is_passed_over_for_good(
    versions: LoadedVersions, log: Log
) -> None:
    log.damaged |= {3, 2}
    assert scoring(versions, 3) == 1
    log.damaged.clear()
    assert scoring(versions, 3) == 1
    assert log.loads == [3, 2, 1]


def test_where_none_can_be_loaded_none_scores(versions: LoadedVersions, log: Log) -> None:
    log.damaged |= {1, 2}
    assert scoring(versions, 2) is None


def test_a_withdrawn_version_scores_no_block(versions: LoadedVersions) -> None:
    versions.withdraw(3)
    versions.withdraw(99)
    assert scoring(versions, 3) == 2


def test_what_neither_serves_nor_scores_an_open_block_is_unloaded(
    versions: LoadedVersions, log: Log
) -> None:
    for block in (1, 2, 3):
        versions.scoring(block)
    versions.keep_for([3])
    log.loads.clear()
    for block in (4, 3, 2, 1):
        versions.scoring(block)
    assert log.loads == [2, 1]


def test_the_served_version_is_kept_whatever_is_scored(versions: LoadedVersions, log: Log) -> None:
    versions.keep_for([])
    assert versions.scoring(9) is versions.served
    assert log.loads == []


def test_what_is_no_longer_known_scores_no_block(versions: LoadedVersions) -> None:
    versions.set_last_blocks({1: 0, 4: 3})
    assert [scoring(versions, block) for block in (2, 3, 4)] == [1, 1, 4]


def test_a_canary_serves_its_share_of_the_keys_and_nobody_without_a_key(
    versions: LoadedVersions,
) -> None:
    versions.serve_canary(version(5), 0.25)
    keys = [f"visit-{number}" for number in range(2_000)]
    given = [versions.for_key(key).number for key in keys]
    assert set(given) == {4, 5}
    assert 0.2 < given.count(5) / len(given) < 0.3
    assert [versions.for_key(key).number for key in keys] == given
    assert versions.for_key(None).number == 4


def test_who_is_on_a_small_canary_is_on_a_larger_one(versions: LoadedVersions) -> None:
    keys = [f"visit-{number}" for number in range(500)]
    on = []
    for share in (0.1, 0.5, 1.0):
        versions.serve_canary(version(5), share)
        on.append({key for key in keys if versions.for_key(key).number == 5})
    assert on[0] < on[1] < on[2] == set(keys)


def test_a_canary_that_has_ended_serves_nobody(versions: LoadedVersions) -> None:
    versions.serve_canary(version(5), 1.0)
    versions.serve_canary(None)
    assert versions.for_key("visit").number == 4
    assert versions.canary is None


def test_a_canary_is_compared_with_what_serves_on_blocks_that_neither_knows(
    versions: LoadedVersions,
) -> None:
    canary = version(6)  # trained on block 5
    versions.serve_canary(canary, 0.1)
    compared = {}
    for block in (2, 4, 5, 6, 7):
        stable = versions.scoring(block)
        assert stable is not None
        compared[block] = versions.compared_with(stable, block)
    assert compared == {2: None, 4: None, 5: None, 6: canary, 7: canary}
    assert versions.compared == Pair(4, 6)


def test_an_older_canary_is_compared_where_the_pinned_version_scores(
    versions: LoadedVersions,
) -> None:
    versions.serve_canary(canary := version(2), 0.1)
    third, fourth = versions.scoring(3), versions.scoring(4)
    assert third is not None
    assert fourth is not None
    assert versions.compared_with(third, 3) is None  # another one scores it
    assert versions.compared_with(fourth, 4) is canary


def test_without_a_canary_nothing_is_compared(versions: LoadedVersions) -> None:
    assert versions.served is not None
    assert versions.compared_with(versions.served, 9) is None
    assert versions.compared is None


def test_many_threads_may_ask_while_versions_are_swapped(log: Log) -> None:
    versions = LoadedVersions(log.load)
    last = 300

    def publish() -> None:
        for number in range(1, last + 1):
            versions.set_last_blocks({n: n - 1 for n in range(1, number + 1)})
            versions.serve(version(number))

    def ask(block: int) -> list[int]:
        found = []
        while versions.served is None or versions.served.number < last:
            found.append(scoring(versions, block) or 0)
            versions.keep_for([block])
        return found

    with ThreadPoolExecutor() as pool:
        publishing = pool.submit(publish)
        asking = [pool.submit(ask, block) for block in (50, 150, 250)]
        publishing.result()
        for block, answers in zip((50, 150, 250), asking, strict=True):
            numbers = answers.result()
            assert numbers == sorted(numbers)
            assert all(number <= block for number in numbers)
