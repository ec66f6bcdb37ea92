from __future__ import annotations

import json

from ader_stream.registry.history import differences, history, roles
from ader_stream.stream.control import Command
from ader_stream.stream.models.manifest import Manifest, Trust
from ader_stream.stream.models.registry import Registry
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
    assert rows[2]["rejection"] == "worse"
    json.dumps(rows)


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
    assert row["bytes"] == sum(part["size"] for part in published["parts"])
    assert (row["recall20"], row["parent_recall20"]) == (None, None)
    assert row["validation_recall20"] == max(published["report"]["validation_recall20"])


def test_two_versions_differ_in_what_was_given_and_measured(published: Manifest) -> None:
    other = published | {"seed": 4, "hyperparameters": published["hyperparameters"] | {"new": 1.0}}
    assert differences(published, published) == []
    assert differences(published, other) == [("hyperparameters.new", None, 1.0), ("seed", 3, 4)]
