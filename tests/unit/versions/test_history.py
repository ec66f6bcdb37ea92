from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ader_stream.paired import GROUPS, NO_PAIRED_CLICKS, Pair, PairedCounts, Sums
from ader_stream.stream.control.commands import Command
from ader_stream.stream.model_registry.manifest import Manifest
from ader_stream.stream.model_registry.manifest_record import Trust
from ader_stream.stream.model_registry.registry import Registry
from ader_stream.types import RECIPROCAL_UNIT
from ader_stream.versions.history import comparisons, decisions, differences, history, roles
from tests.fakes import example_manifest


def registry(*commands: Command) -> Registry:
    """Four versions; the third was rejected, so the fourth comes from the second."""
    found = Registry(Trust())
    found.manifests |= {v: example_manifest(v) for v in (1, 2)}
    found.manifests[3] = example_manifest(3, status="rejected", rejection="worse")
    found.manifests[4] = example_manifest(4, parent=2)
    found.commands += commands
    return found


def test_every_version_is_a_row_with_what_it_is_now() -> None:
    rows = history(registry(Command("pin", 2, share=0.1)))
    assert [row["version"] for row in rows] == [1, 2, 3, 4]
    assert [row["roles"] for row in rows] == [[], ["serving"], ["rejected"], ["canary", "parent"]]
    assert [row["parent"] for row in rows] == [None, 1, 2, 2]
    assert [row["predecessor"] for row in rows] == [None, 1, 2, 3]
    assert rows[2]["rejection"] == "worse"
    json.dumps(rows)


def test_the_history_shows_that_a_canary_has_fallen_back_and_why() -> None:
    fallback = Command("fallback", 4, stable=2, at=1_000, reason="worse than version 2")
    found = registry(Command("pin", 2, share=0.1), fallback)
    assert roles(found, 4) == ["parent", "fallen back"]
    said = {"command": "fallback", "at": "1970-01-01T00:00:01+00:00", "reason": fallback.reason}
    assert decisions(found.commands, 4) == [said]
    assert decisions(found.commands, 2) == []


def test_a_version_is_compared_with_each_that_it_stood_beside() -> None:
    differences = tuple(Sums(10, group % 3, 0) for group in range(GROUPS))
    counts = PairedCounts(Sums(640, 320, 160 * RECIPROCAL_UNIT), differences)
    compared = {Pair(1, 2): counts, Pair(2, 4): counts, Pair(1, 4): NO_PAIRED_CLICKS}
    second = [*comparisons(compared, 2)]
    assert [(row["stable"], row["canary"]) for row in second] == [(1, 2), (2, 4)]
    recall, mrr = second[0]["recall20"], second[0]["mrr20"]
    assert (recall["stable"], recall["difference"]) == (50.0, pytest.approx(9.84, abs=0.01))
    assert recall["canary"] == pytest.approx(59.84, abs=0.01)
    assert recall["lower"] < recall["difference"] < recall["upper"]
    assert (mrr["stable"], mrr["difference"]) == (25.0, 0.0)
    json.dumps(second)


def test_the_history_shows_a_rollback() -> None:
    rolled_back = registry(Command("rollback", 1, newest=4))
    assert {v: roles(rolled_back, v) for v in (1, 2, 3, 4)} == {
        1: ["serving", "parent"],
        2: ["rolled back"],
        3: ["rejected"],
        4: ["rolled back"],
    }


def test_the_history_shows_a_rollback_for_good() -> None:
    later = registry(Command("rollback", 1, newest=4))
    later.manifests[5] = example_manifest(5, parent=1)
    later.manifests[6] = example_manifest(6, parent=5)
    assert {v: roles(later, v) for v in (1, 2, 4, 5, 6)} == {
        1: [],
        2: ["rolled back"],
        4: ["rolled back"],
        5: [],
        6: ["serving", "parent"],
    }


def test_what_stays_of_a_pruned_chain_was_not_rolled_back() -> None:
    pruned = registry(Command("pin", 1))
    del pruned.manifests[2]
    assert {v: roles(pruned, v) for v in (1, 4)} == {1: ["serving"], 4: ["parent"]}


def test_a_version_is_as_large_as_its_parts(published: Manifest) -> None:
    found = Registry(Trust())
    found.manifests[1] = published
    [row] = history(found)
    assert row["bytes"] == sum(part.size for part in published.parts)
    assert (row["recall20"], row["parent_recall20"]) == (None, None)
    assert row["validation_recall20"] == max(published.report.validation_recall20)


def test_two_versions_differ_in_what_was_given_and_measured(published: Manifest) -> None:
    numbers = {**published.hyperparameters, "new": 1.0}
    other = replace(published, seed=4, hyperparameters=numbers)
    assert differences(published, published) == []
    assert differences(published, other) == [("hyperparameters.new", None, 1.0), ("seed", 3, 4)]
