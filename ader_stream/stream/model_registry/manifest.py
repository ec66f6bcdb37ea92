"""The manifest of a version: what it is, how it was made, where its parts are.

The dataclasses mirror `schemas/ModelManifest.avsc`, which describes every field; a test compares
them field by field. `manifest_record` writes a manifest as a record of the models topic.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ader_stream.artifact import digest_of_hashes

FORMAT = 9
"""Version of the artifact's format. A reader reads every format up to its own, and refuses a newer
one. Each format added to the one before:

======  ============================================================================
2       checksum, status, gate
3       how clicks were cut, up to which offset of `control` commands were known
4       negative flips
5       embedding drift
6       id of the sessions topic, times of the sessions
7       bounds of what the gate measured
8       item retention: for how long items have not been clicked, how many were removed
9       forgetting, plasticity and the share of distillation
======  ============================================================================
"""

ACCEPTED, REJECTED = "accepted", "rejected"


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk of a part: one record of model-chunks."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the artifact."""

    kind: str
    size: int
    sha256: str
    chunks: tuple[Chunk, ...]


@dataclass(frozen=True, slots=True)
class PartOffsets:
    """The offsets of model-chunks between which a part lies."""

    kind: str
    first_offset: int
    last_offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionsOffset:
    """The offsets of one partition of the sessions topic that a version was trained on."""

    partition: int
    first_offset: int | None = None
    next_offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingReport:
    """What the update cycle did: the CycleReport of the schema."""

    epochs: int
    best_epoch: int
    losses: tuple[float, ...]
    validation_recall20: tuple[float, ...]
    adaptive_weight: float
    exemplars: int
    sessions: int
    clicks: int
    train_samples: int
    items: int
    new_items: int
    validation_samples: int = 0
    left_items: int = 0
    recall_at_risk: float | None = None
    is_rebuilt: bool = False
    earlier_sessions: int = 0


@dataclass(frozen=True, slots=True)
class GateComparison:
    """Recall@20 of a version and of what it was compared with, on the same targets.

    Parameters
    ----------
    against
        What it was compared with (`ComparisonKind`).
    samples, sessions
        Targets, and the sessions that they are of; each exemplar is of its own.
    recall20, other_recall20
        The version's and the other's, percent of the samples; against `co-clicks`, percent of the
        pairs that were ranked in the right order.
    gain
        Percentage points of the one above the other, each session with the same weight.
    gain_low, gain_high
        Its one-sided bounds at 95 %.
    """

    against: str
    samples: int
    sessions: int
    recall20: float
    other_recall20: float
    gain: float
    gain_low: float
    gain_high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GateReport:
    """What the gate measured before publishing: the Gate of the schema."""

    samples: int
    recall20: float | None = None
    parent_recall20: float | None = None
    item_coverage: float | None = None
    exemplars: int = 0
    exemplar_recall20: float | None = None
    parent_exemplar_recall20: float | None = None
    mislaid: float | None = None
    displaced: float | None = None
    mislaid_low: float | None = None
    displaced_low: float | None = None
    new_mislaid: float | None = None
    new_mislaid_low: float | None = None
    possible_coverage: float | None = None
    comparisons: tuple[GateComparison, ...] = ()
    told_apart: float | None = None
    told_apart_low: float | None = None
    parent_told_apart: float | None = None
    parent_told_apart_low: float | None = None
    co_clicks_told_apart: float | None = None
    co_clicks_told_apart_low: float | None = None
    undecided: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockRecall:
    """How well a version ranks the held-out sample of an ancestor's block, or of its own."""

    version: int
    targets: int
    recall20: float
    mrr20: float
    first_recall20: float | None = None
    first_mrr20: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Learning:
    """What a version remembers, and what it has learned."""

    sample_rows: tuple[int, ...] = ()
    is_held_out: bool = False
    remembered: tuple[BlockRecall, ...] = ()
    forgetting_recall20: float | None = None
    forgetting_mrr20: float | None = None
    new_targets: int = 0
    plasticity_recall20: float | None = None
    parent_new_targets: int = 0
    parent_plasticity_recall20: float | None = None
    distillation_share: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Measurements and places, which are not part of the digest."""

    offsets: tuple[SessionsOffset, ...]
    places: tuple[PartOffsets, ...]
    published_at: int
    train_seconds: float
    samples_per_second: float
    herding_seconds: float
    code_version: str
    libraries: Mapping[str, str]
    device: str
    threads: int
    skipped_sessions: int = 0
    control_offset: int | None = None
    sessions_topic_id: str = ""
    first_time: int | None = None
    last_time: int | None = None
    learning: Learning | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One version: the ModelManifest of the schema.

    Until it is published, a manifest has no parts, no digest, no places and no time of publishing:
    `ModelPublisher.publish` returns a copy that has them.
    """

    format: int
    version: int
    parent: int | None = None
    predecessor: int | None = None
    status: str = ACCEPTED
    rejection: str | None = None
    blocks: tuple[int, ...]
    method: str
    recipe: str
    hyperparameters: Mapping[str, float]
    choices: Mapping[str, str] = field(default_factory=dict)
    seed: int
    item_retention: int = 0
    cut: Mapping[str, int] = field(default_factory=dict)
    frequent_items: tuple[str, ...]
    parts: tuple[Part, ...]
    digest: str
    report: TrainingReport
    gate: GateReport | None = None
    run: Run

    @property
    def is_accepted(self) -> bool:
        """Whether the version may serve and be a parent."""
        return self.status == ACCEPTED

    @property
    def last_block(self) -> int:
        """Number of the last block that the version was trained on."""
        return max(self.blocks)

    @property
    def size(self) -> int:
        """Bytes of the version, all parts together."""
        return sum(part.size for part in self.parts)

    def chunk_keys(self) -> list[str]:
        """Return the keys of its chunks in model-chunks."""
        return [
            chunk_key(self.version, part.kind, number)
            for part in self.parts
            for number in range(len(part.chunks))
        ]


def chunk_key(version: int, kind: str, number: int) -> str:
    """Return the key of a chunk's record."""
    return f"{version}/{kind}/{number}"


def digest_of(parts: Iterable[Part]) -> str:
    """Return the content digest of described parts."""
    return digest_of_hashes({part.kind: part.sha256 for part in parts})
