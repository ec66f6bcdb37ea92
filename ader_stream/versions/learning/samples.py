"""Samples of the last versions' blocks: the fixed sessions that forgetting is measured on.

A manifest has the positions of a sample of its block's sessions: of those that its cycle held out,
where the recipe holds sessions out. The sessions themselves stay in the sessions topic, from which
they are read again when they are needed: erasure and retention apply to them as to every other
session, and nothing else has to be deleted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import structlog

from ader_stream.ader.data.arrays import Int64
from ader_stream.ader.data.dataset import Samples, Sessions
from ader_stream.ader.data.vocabulary import Vocabulary
from ader_stream.ader.progress import with_progress
from ader_stream.errors import OffsetError, TopicError
from ader_stream.stream.blocks.feed import BlockFeed, TrainingBlock
from ader_stream.stream.control.erasures import Erasures
from ader_stream.stream.model_registry.lineage import spans_behind
from ader_stream.stream.model_registry.manifest import Manifest

log = structlog.get_logger(__name__)

ANCESTORS = 4
"""Ancestors on whose samples a version is measured: seconds of ranking."""


class EarlierSample(NamedTuple):
    """The sample of an ancestor's block, without erased sessions."""

    manifest: Manifest
    block: TrainingBlock


def held_out_rows(
    held_out: Samples, sessions: Sessions, vocabulary: Vocabulary, between: Callable[[], None]
) -> Int64:
    """Return the positions of the sessions that have a held-out target, in increasing order.

    Parameters
    ----------
    held_out
        By the update cycle (`CycleResult.held_out`), in whole sessions.
    sessions, vocabulary
        The block, and what it was encoded with.
    between
        Called now and then.
    """
    known = (len(vocabulary.encode(session)) for session in with_progress(sessions, between))
    ends = np.cumsum(np.fromiter(known, np.int64, len(sessions)))
    return np.unique(np.searchsorted(ends, held_out.targets, side="right"))


def spread(rows: Int64, most: int) -> Int64:
    """Return at most so many of the positions, evenly spread.

    >>> spread(np.arange(9), 3).tolist(), spread(np.array([3, 5]), 3).tolist()
    ([0, 4, 8], [3, 5])
    """
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]


def block_of(block: TrainingBlock, rows: Int64) -> TrainingBlock:
    """Return the sessions of a block at some positions, with the names of their items alone."""
    sessions = block.sessions.take(rows)
    used, codes = np.unique(sessions.items.codes, return_inverse=True)
    names = tuple(sessions.items.names[code] for code in used.tolist())
    items = replace(sessions.items, names=names, codes=codes.astype(np.int32))
    return TrainingBlock(block.blocks, replace(sessions, items=items), {}, {})


class EarlierSamples:
    """Return the samples of a version's ancestors; those of the last ones are kept.

    Each is read again once, after a restart; while the trainer runs, it has them already.
    """

    def __init__(self) -> None:
        self._known: dict[int, TrainingBlock] = {}

    def keep(self, version: int, sample: TrainingBlock) -> None:
        """Keep the sample of a new version's block."""
        self._known[version] = sample

    def of_ancestors(
        self,
        manifests: Mapping[int, Manifest],
        parent: int | None,
        feed: BlockFeed,
        erasures: Erasures,
        between: Callable[[], None],
    ) -> list[EarlierSample]:
        """Return the samples of the parent and of its ancestors, the newest first.

        Those that the topic no longer holds are left out. Keys that are to be erased are left out
        as from every block that is trained.
        """
        ancestors = list(_ancestors(manifests, parent))
        found = {
            manifest.version: self._known.get(manifest.version) or _read(manifest, feed, between)
            for manifest in ancestors
        }
        self._known = {version: block for version, block in found.items() if block}
        samples = ((each, self._known.get(each.version)) for each in ancestors)
        return [EarlierSample(each, block.without(erasures)) for each, block in samples if block]


def _ancestors(manifests: Mapping[int, Manifest], version: int | None) -> Iterator[Manifest]:
    """Yield the last versions of a lineage that name a sample, the newest first."""
    left = ANCESTORS
    while left and version and (manifest := manifests.get(version)):
        if manifest.run.learning and manifest.run.learning.sample_rows:
            left -= 1
            yield manifest
        version = manifest.parent


def _read(manifest: Manifest, feed: BlockFeed, between: Callable[[], None]) -> TrainingBlock | None:
    """Read the sample of a version's block again; None if the topic has other sessions."""
    try:
        return _sample_of(manifest, feed, between)
    except (OffsetError, TopicError) as error:
        log.warning(
            "forgetting is measured without an earlier block, which cannot be read again",
            version=manifest.version,
            blocks=manifest.blocks,
            reason=str(error),
        )
        return None


def _sample_of(manifest: Manifest, feed: BlockFeed, between: Callable[[], None]) -> TrainingBlock:
    run, number = manifest.run, manifest.version
    spans = spans_behind({number: manifest}, number, feed.topic_id, blocks=1)
    block = feed.read_again(spans, between)
    found, expected = len(block.sessions), manifest.report.sessions + run.skipped_sessions
    if found != expected or run.learning is None:
        raise OffsetError(f"{found} sessions of its block are in the topic, expected {expected}")
    return block_of(block, np.array(run.learning.sample_rows, np.int64))
