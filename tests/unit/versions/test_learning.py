"""What a version has forgotten and learned, from the sessions that its cycle held out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

import numpy as np
import pytest
import torch
from structlog.testing import capture_logs

from ader_stream.ader.artifact.parts import encode_parts
from ader_stream.ader.artifact.state import State
from ader_stream.ader.data.dataset import Samples, split_sessions
from ader_stream.ader.device import CPU
from ader_stream.ader.exemplars.selection import represent_samples
from ader_stream.ader.models.base import SessionModel
from ader_stream.ader.recipes import PRODUCTION, Recipe
from ader_stream.ader.training.replay import labelled
from ader_stream.artifact import content_digest
from ader_stream.stream.blocks.columns import SessionColumns
from ader_stream.stream.blocks.feed import BlockFeed, TrainingBlock
from ader_stream.stream.control.erasures import Erasures, erasure_request
from ader_stream.stream.model_registry.manifest import Learning, Manifest
from ader_stream.stream.sessions.open.session import OpenSession
from ader_stream.stream.sessions.outputs import BlockCounts, BlockEnd
from ader_stream.stream.sessions.records.session_records import encode_outputs
from ader_stream.types import Session
from ader_stream.versions.attempt import Watch, attempt_cycle
from ader_stream.versions.describe import VersionInputs, describe_version
from ader_stream.versions.learning import measure
from ader_stream.versions.learning.distillation import distillation_share
from ader_stream.versions.learning.measure import NewVersion, measure_learning
from ader_stream.versions.learning.samples import EarlierSamples, held_out_rows
from tests.fakes import FakeKafka
from tests.unit.versions.conftest import ASKS_NOTHING, ITEMS, SEED

TOPIC = "sessions"
SMALL = {"hidden": 8, "maxlen": 5, "max_epochs": 2, "batch_size": 64, "exemplars": 40}
RECIPE = replace(PRODUCTION, **SMALL, validation_share=0.3, learning_rate=0.02)


def visits(block: int, count: int = 60) -> list[tuple[str, ...]]:
    """Visits along a ring of items; each block adds six new ones."""
    ring = [*ITEMS, *(f"new-{block}-{number}" for number in range(6))]
    return [tuple((ring * 2)[start % len(ring) :][: 2 + start % 4]) for start in range(count)]


def visit(key: str, block: int, row: int, items: tuple[str, ...]) -> OpenSession:
    return OpenSession.of(key, block, [row * 10 + click for click in range(len(items))], items)


def nothing(*_: object) -> None:
    pass


@dataclass
class Chain:
    """Versions of successive blocks, as the trainer makes them."""

    kafka: FakeKafka
    recipe: Recipe = RECIPE
    erasures: Erasures = field(default_factory=Erasures)
    manifests: dict[int, Manifest] = field(default_factory=dict)
    earlier: EarlierSamples = field(default_factory=EarlierSamples)
    states: list[State] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.write(end=-1)
        self.feed = BlockFeed(self.kafka, TOPIC, 1, {}, topic_id=TOPIC)

    def write(self, end: int, sessions: Sequence[OpenSession] = ()) -> None:
        counts = BlockCounts(sessions=len(sessions))
        for value, headers in encode_outputs(0, [*sessions, BlockEnd(end, counts)]):
            self.kafka.append(TOPIC, value, "0", headers, 0)

    def block(self, number: int) -> TrainingBlock:
        """Write a block, and read it as the trainer does."""
        sessions = [
            OpenSession.of(
                f"{number}-{row}", number, [row * 10 + n for n in range(len(items))], items
            )
            for row, items in enumerate(visits(number))
        ]
        self.write(number, sessions)
        self.feed.poll(0)
        block = self.feed.next_block(1)
        assert block is not None
        return block.without(self.erasures)

    def new(self, block: TrainingBlock) -> NewVersion:
        """Train the next version."""
        parent = self.states[-1] if self.states else None
        watch = Watch(nothing, nothing)
        attempt = attempt_cycle(
            block.sessions.items, parent, self.recipe, SEED, ASKS_NOTHING, watch
        )
        number = len(self.manifests) + 1
        return NewVersion.of(attempt, number, self.recipe, block, parent)

    def samples(self) -> list[str]:
        """Return the keys of the samples of the last version and its ancestors."""
        found = self.earlier.of_ancestors(
            self.manifests, len(self.manifests), self.feed, self.erasures, nothing
        )
        return list(chain.from_iterable(sample.block.sessions.keys() for sample in found))

    def learning(self, number: int) -> Learning:
        """Make the version of a new block, and return what is measured of it."""
        new = self.new(self.block(number))
        earlier = self.earlier.of_ancestors(
            self.manifests, new.number - 1, self.feed, self.erasures, nothing
        )
        learning, own = measure_learning(new, earlier, nothing)
        making = VersionInputs("ader", "production", self.recipe, SEED)
        previous = new.number - 1 or None
        manifest = describe_version(
            new.block, making, previous=previous, parent=previous, report=new.report
        )
        run = replace(manifest.run, learning=learning)
        self.manifests[new.number] = replace(manifest, run=run)
        self.states.append(new.state)
        self.earlier.keep(new.number, own)
        return learning

    def forget(self, key: str) -> None:
        self.erasures.take(erasure_request(key, self.erasures), self.erasures.next_offset)


@pytest.fixture
def versions(kafka: FakeKafka) -> Chain:
    return Chain(kafka)


def pairs(samples: Samples) -> Counter[tuple[tuple[int, ...], int]]:
    """Return the prefixes with their targets."""
    each = zip(samples.starts, samples.targets, samples.labels, strict=True)
    return Counter((tuple(samples.items[first:at].tolist()), int(item)) for first, at, item in each)


def test_the_sample_is_of_what_the_cycle_held_out(versions: Chain) -> None:
    new = versions.new(versions.block(0))
    sessions = new.block.sessions
    rows = held_out_rows(new.held_out, sessions.items, new.state.vocabulary, nothing)
    assert len(rows) == round(0.3 * len(sessions))
    encoded = map(new.state.vocabulary.encode, sessions.take(rows).items)
    assert pairs(split_sessions(encoded, RECIPE.maxlen)) == pairs(new.held_out)


def test_a_sample_is_bounded_and_of_the_whole_block(
    versions: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "SAMPLE_SESSIONS", 5)
    rows = versions.learning(0).sample_rows
    assert len(rows) == 5
    assert (min(rows) < 15, max(rows) > 45) == (True, True)


def test_forgetting_is_the_fall_since_the_versions_of_the_blocks_were_new(versions: Chain) -> None:
    first, _, third = (versions.learning(block) for block in range(3))
    assert [each.version for each in third.remembered] == [3, 2, 1]
    [own] = first.remembered
    assert (own.recall20 > 0, own.first_recall20, first.forgetting_recall20) == (True, None, None)
    oldest = third.remembered[-1]
    assert (oldest.first_recall20, oldest.targets) == (own.recall20, own.targets)
    falls = [each.first_recall20 - each.recall20 for each in third.remembered[1:]]
    assert third.forgetting_recall20 == pytest.approx(np.mean(falls))


def test_a_trainer_that_restarts_reads_the_same_samples_from_the_topic(versions: Chain) -> None:
    for block in range(2):
        versions.learning(block)
    before = versions.samples()
    versions.earlier = EarlierSamples()
    assert versions.samples() == before
    assert len(before) == 2 * 18


def test_an_erased_key_is_in_no_sample_any_more(versions: Chain) -> None:
    versions.learning(0)
    gone = versions.samples()[3]
    versions.forget(gone)
    assert gone not in versions.samples()
    assert len(versions.samples()) == 17
    versions.earlier = EarlierSamples()
    assert gone not in versions.samples()


def test_positions_count_the_sessions_that_were_erased_before_training(versions: Chain) -> None:
    for row in (0, 7, 30):
        versions.forget(f"0-{row}")
    versions.learning(0)
    before = versions.samples()
    versions.earlier = EarlierSamples()
    assert versions.samples() == before
    assert len(before) == 17


def test_a_block_that_the_topic_no_longer_holds_is_left_out_and_logged(versions: Chain) -> None:
    for block in range(2):
        versions.learning(block)
    versions.earlier = EarlierSamples()
    versions.kafka.trimmed[TOPIC, 0] = versions.manifests[2].run.offsets[0].first_offset
    with capture_logs() as logs:
        assert {key[0] for key in versions.samples()} == {"1"}
    assert [entry["version"] for entry in logs] == [1]
    assert "expected 60" in logs[0]["reason"]


def test_plasticity_is_of_held_out_clicks_on_items_that_no_parent_knows(versions: Chain) -> None:
    assert versions.learning(0).plasticity_recall20 is None
    new = versions.new(versions.block(1))
    learning, _ = measure_learning(new, [], nothing)
    names = [new.state.vocabulary.item(int(item)) for item in new.held_out.labels]
    assert learning.new_targets == sum(name.startswith("new-1") for name in names) > 0
    assert 0 <= learning.plasticity_recall20 <= 100


def test_the_share_of_distillation_is_that_of_the_paper(versions: Chain) -> None:
    assert versions.learning(0).distillation_share is None
    new = versions.new(versions.block(1))
    samples = new.held_out.within(RECIPE.maxlen)
    student, teacher = new.state.model(), new.parent.model()
    exemplars = new.parent.exemplars.samples()
    ce = cross_entropy(student, samples, torch.from_numpy(samples.labels).long() - 1)
    taught = teacher_of(teacher, exemplars)
    kd = cross_entropy(student, exemplars, taught, len(new.parent.vocabulary))
    for weight in (0.5, 2.0):
        share = distillation_share(new.state, new.parent, samples, weight, RECIPE, CPU)
        assert share == pytest.approx(100 * weight * kd / (ce + weight * kd), rel=1e-3)
    assert distillation_share(new.state, new.parent, samples, 0.0, RECIPE, CPU) is None


@torch.no_grad()
def cross_entropy(
    model, samples: Samples, targets: torch.Tensor, items: int | None = None
) -> float:
    """Return the mean cross-entropy over raw scores, one sample at a time."""
    scores = torch.cat([raw_scores(model, samples, row) for row in range(len(samples))])
    return torch.nn.functional.cross_entropy(scores[:, :items], targets).item()


def raw_scores(model: SessionModel, samples: Samples, row: int) -> torch.Tensor:
    batch = labelled(samples, np.array([row])).inputs
    layer, [embedded] = model.look_up([batch])
    return model.represent(embedded, batch) @ layer.T


@torch.no_grad()
def teacher_of(model: SessionModel, samples: Samples) -> torch.Tensor:
    """Return the teacher's distribution as it ranks."""
    represented = torch.from_numpy(represent_samples(model, samples))
    return (represented @ model.ranked_table().T).softmax(1)


def test_measuring_changes_no_weight_and_draws_no_random_number(versions: Chain) -> None:
    versions.learning(0)
    new = versions.new(versions.block(1))
    before = content_digest(encode_parts(new.state)), content_digest(encode_parts(new.parent))
    torchs, numpys = torch.get_rng_state(), np.random.get_state()[1].tolist()
    measure_learning(new, [], nothing)
    assert torch.equal(torch.get_rng_state(), torchs)
    assert np.random.get_state()[1].tolist() == numpys
    after = content_digest(encode_parts(new.state)), content_digest(encode_parts(new.parent))
    assert after == before


def test_where_no_session_is_held_out_the_sample_is_of_all_sessions(kafka: FakeKafka) -> None:
    versions = Chain(kafka, replace(RECIPE, validation_share=0.0))
    versions.learning(0)
    second = versions.learning(1)
    assert (second.is_held_out, len(second.sample_rows), second.new_targets) == (False, 60, 0)
    assert [each.version for each in second.remembered] == [2, 1]
    assert second.plasticity_recall20 is None


def test_the_next_block_tells_how_well_the_parent_has_learned_its_new_items(
    kafka: FakeKafka,
) -> None:
    versions = Chain(kafka, replace(RECIPE, validation_share=0.0))
    for number in range(2):
        versions.learning(number)
    block = versions.block(2)
    some = [(*items[:1], "new-1-0") for items in block.sessions.items]
    clicks = SessionColumns.of(
        Session(str(row), items, (row, row + 1)) for row, items in enumerate(some)
    )
    new = replace(versions.new(block), block=replace(block, sessions=clicks), parents_new_items=6)
    learning, _ = measure_learning(new, [], nothing)
    known = [items[0] for items in some if new.parent.vocabulary.index(items[0])]
    assert learning.parent_new_targets == len(known)
    assert 0 <= learning.parent_plasticity_recall20 <= 100
    first, _ = measure_learning(replace(new, parents_new_items=0), [], nothing)
    assert first.parent_plasticity_recall20 is None


def test_a_block_without_offsets_has_no_sample(versions: Chain) -> None:
    block = replace(versions.block(0), first_offsets={}, next_offsets={})
    learning, _ = measure_learning(versions.new(block), [], nothing)
    assert (learning.sample_rows, learning.remembered) == ((), ())
