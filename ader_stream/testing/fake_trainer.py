"""A trainer that does not train: its versions know the items, and nothing of their order.

Its topics, manifests, chunks and vocabularies are those of a real trainer, and inference loads and
serves its versions as any other. **What is fake is the model**: its weights are drawn at random, so
that its recommendations are items of the block, and which of them come first means nothing.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import torch

from ader_stream.ader.artifact.parts import encode_parts
from ader_stream.ader.artifact.state import STEPS, State, copied_weights, untrained
from ader_stream.ader.recipes import PAPER, Recipe, overridden
from ader_stream.ader.report import NOTHING_DONE
from ader_stream.settings import Settings
from ader_stream.stream.blocks.feed import BlockFeed, TrainingBlock
from ader_stream.stream.model_registry.model_log import ModelPublisher
from ader_stream.stream.topics.topics import check_topics, topic_id
from ader_stream.versions.describe import VersionInputs, describe_version

METHOD = "fake"
SMALL = {"hidden": 8, "maxlen": 10}
FREQUENT_ITEMS = 100


class FakeTrainer:
    """Publishes an untrained version for each complete block, when `publish_next` is called.

    Attributes
    ----------
    version
        The last one published; 0 before the first.
    """

    def __init__(self, settings: Settings) -> None:
        clients, topics = settings.clients, settings.topics
        partitions, sessions = check_topics(clients.admin(), topics), topics.sessions
        sessions_id = topic_id(clients.admin(), sessions)
        self._recipe: Recipe = overridden(PAPER, SMALL)
        self._inputs = VersionInputs(
            METHOD, METHOD, self._recipe, settings.trainer.seed, settings.session_parameters
        )
        self._feed = BlockFeed(clients, sessions, partitions, {}, topic_id=sessions_id)
        trainer = settings.trainer
        self._publisher = ModelPublisher(clients, topics, trainer.chunk_size, settings.signer)
        self._state = untrained(self._recipe.architecture)
        self.version = 0

    def publish_next(self, timeout: float = 0.0) -> bool:
        """Publish a version for the next complete block, and return whether there was one.

        Parameters
        ----------
        timeout
            Seconds to wait for a record of `sessions`.
        """
        self._feed.poll(timeout)
        block = self._feed.next_block(min_sessions=1)
        if block is None:
            return False
        self._publish(block)
        return True

    def close(self) -> None:
        """Close the Kafka clients."""
        self._publisher.close()
        self._feed.close()

    def _publish(self, block: TrainingBlock) -> None:
        before = len(self._state.vocabulary)
        self._state = grown(self._state, block, self._inputs)
        items = len(self._state.vocabulary)
        manifest = describe_version(
            block,
            self._inputs,
            previous=self.version or None,
            parent=self.version or None,
            report=replace(
                NOTHING_DONE,
                items=items,
                new_items=items - before,
                frequent_items=most_clicked(block),
            ),
        )
        self._publisher.publish(manifest, encode_parts(self._state))
        self.version = manifest.version


def most_clicked(block: TrainingBlock) -> list[str]:
    """Return items of a block, most clicked first: what is recommended after unknown items."""
    counts = Counter(item for session in block.sessions.items for item in session)
    return [item for item, _ in counts.most_common(FREQUENT_ITEMS)]


def grown(state: State, block: TrainingBlock, inputs: VersionInputs) -> State:
    """Return a state with a random row for each new item of a block."""
    vocabulary = state.vocabulary.extended(block.sessions.items)
    model = state.model()
    generator = torch.Generator().manual_seed(inputs.seed + len(vocabulary))
    if not len(state.vocabulary):
        model.initialise(generator)
    model.grow(len(vocabulary), generator, inputs.recipe.item_bound)
    steps = {f"{name}.{STEPS[0]}": torch.tensor(0.0) for name, _ in model.named_parameters()}
    idle = np.zeros(len(vocabulary), np.int32)
    return State(
        copied_weights(model), steps, state.exemplars, vocabulary, state.architecture, idle
    )
