"""All workers on real clicks: what comes out is what the clicks say."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from itertools import pairwise

import pytest

from ader_stream.ader.artifact.parts import decode_serving
from ader_stream.stream.model_registry.model_reader import ModelReader
from ader_stream.types import Counts
from tests.integration.simulated import expected_counts, expected_sessions
from tests.integration.system import Kafka
from tests.integration.whole_run import WholeRun, whole_run


@pytest.fixture(scope="module")
def run(kafka: Kafka, tmp_path_factory: pytest.TempPathFactory) -> WholeRun:
    return whole_run(kafka.bootstrap_servers, tmp_path_factory.getbasetemp() / "whole-run")


def test_every_click_is_in_exactly_one_session(run: WholeRun) -> None:
    rule = run.system.settings.block_rule
    assert run.outcome.sessions == expected_sessions(rule, run.clicks)


def test_every_block_has_a_version_and_the_chain_has_no_holes(run: WholeRun) -> None:
    manifests = run.outcome.manifests
    assert [manifest.version for manifest in manifests] == [1, 2, 3, 4]
    assert [manifest.blocks for manifest in manifests] == [(0,), (1,), (2,), (3,)]
    assert [manifests[0].parent, manifests[0].predecessor] == [None, None]
    for before, after in pairwise(manifests):
        assert after.parent == after.predecessor == before.version


def test_every_version_has_learnt_its_block_and_kept_exemplars(run: WholeRun) -> None:
    for block, manifest in enumerate(run.outcome.manifests):
        report = manifest.report
        assert report.clicks == len(run.blocks[block])
        assert 0 < report.exemplars <= 300
        assert (report.adaptive_weight > 0) == (block > 0)
        assert report.losses[-1] < report.losses[0]


def test_every_click_is_counted_once_by_the_version_of_the_block_before(run: WholeRun) -> None:
    counted: defaultdict[tuple[int, int | None], int] = defaultdict(int)
    for key, score in run.outcome.scores.items():
        counted[key.block, key.version] += score.clicks
    assert counted == {
        (block, block or None): len(clicks) for block, clicks in enumerate(run.blocks)
    }


def test_nothing_scores_the_first_block(run: WholeRun) -> None:
    first = [score for key, score in run.outcome.scores.items() if key.block == 0]
    assert {score.counts for score in first} == {Counts()}


def test_scores_are_what_the_artifacts_give_offline(run: WholeRun) -> None:
    reader = ModelReader(run.system.clients, run.system.topics)
    live: defaultdict[int, Counts] = defaultdict(Counts)
    for key, score in run.outcome.scores.items():
        live[key.block] += score.counts
    for manifest in run.outcome.manifests[:-1]:
        parts = reader.fetch(manifest, ("weights", "vocabulary"))
        model, vocabulary = decode_serving(parts["weights"], parts["vocabulary"])
        block = manifest.version
        sessions = [row for row in run.outcome.sessions if row.block == block]
        counts = expected_counts(model, vocabulary, sessions)
        assert min(dataclasses.astuple(counts)) > 0, "nothing to compare"
        assert live[block] == counts
