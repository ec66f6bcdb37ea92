from __future__ import annotations

from dataclasses import replace

import pytest

from ader_stream.ader.artifact.parts import encode_parts
from ader_stream.ader.artifact.state import State
from ader_stream.ader.cycle import CycleResult, train_cycle
from ader_stream.ader.recipes import PRODUCTION, Recipe
from ader_stream.stream.blocks.columns import SessionColumns
from ader_stream.stream.blocks.feed import TrainingBlock
from ader_stream.stream.model_registry.manifest import Manifest
from ader_stream.stream.model_registry.model_log import ModelPublisher
from ader_stream.stream.topics.topics import Topics
from ader_stream.types import Session
from ader_stream.versions.describe import VersionInputs, describe_version
from ader_stream.versions.gate.verdict import GateRule, WhenUndecided
from tests.fakes import FakeKafka

TOPICS = Topics("ader")
ITEMS = tuple(f"item-{number}" for number in range(24))
SEED = 3

ASKS_NOTHING = GateRule(
    max_recall_drop=100.0,
    max_forgetting=100.0,
    max_negative_flips=100.0,
    max_embedding_drift=100.0,
    min_item_coverage=0.0,
    max_bytes=2**30,
    when_undecided=WhenUndecided.ACCEPT,
)
"""Lets every version through that has numbers and the parent's items."""


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    """Trains in a blink."""
    return Recipe(
        hidden=8,
        blocks=2,
        maxlen=5,
        max_epochs=3,
        batch_size=64,
        exemplars=40,
        learning_rate=0.02,
        validation_share=0.3,
    )


@pytest.fixture(scope="session")
def production() -> Recipe:
    """Recipe `production`, as small."""
    return replace(
        PRODUCTION,
        hidden=8,
        maxlen=5,
        max_epochs=3,
        batch_size=64,
        exemplars=40,
        learning_rate=0.02,
    )


def walks(first: int, count: int) -> list[tuple[str, ...]]:
    """Sessions that walk along the items of a ring."""
    return [tuple((ITEMS * 2)[start % 24 :][:5]) for start in range(first, first + count)]


@pytest.fixture(scope="session")
def sessions() -> list[tuple[str, ...]]:
    return walks(0, 20) * 6


@pytest.fixture(scope="session")
def cycle(recipe: Recipe, sessions: list[tuple[str, ...]]) -> CycleResult:
    return train_cycle(sessions, None, recipe, SEED, lambda _: None)


@pytest.fixture(scope="session")
def state(cycle: CycleResult) -> State:
    return cycle.state


@pytest.fixture(scope="session")
def second_cycle(production: Recipe, sessions: list[tuple[str, ...]]) -> CycleResult:
    """Two cycles of recipe `production`: the second one knows how readily people return."""
    returning = [(*session, session[2]) for session in sessions]
    first = train_cycle(returning, None, production, SEED, lambda _: None).state
    return train_cycle(returning, first, production, SEED, lambda _: None)


@pytest.fixture
def published(
    kafka: FakeKafka,
    recipe: Recipe,
    cycle: CycleResult,
    sessions: list[tuple[str, ...]],
) -> Manifest:
    """Version 1 in the log, as the trainer publishes it."""
    return publish(kafka, recipe, cycle, sessions)


def publish(
    kafka: FakeKafka,
    recipe: Recipe,
    cycle: CycleResult,
    sessions: list[tuple[str, ...]],
) -> Manifest:
    rows = tuple(Session(str(n), items, tuple(range(5))) for n, items in enumerate(sessions))
    block = TrainingBlock((4,), SessionColumns.of(rows), {0: 0}, {0: 9})
    making = VersionInputs("ader", "paper", recipe, SEED)
    manifest = describe_version(block, making, previous=None, parent=None, report=cycle.report)
    return ModelPublisher(kafka, TOPICS, 1_000).publish(manifest, encode_parts(cycle.state))
