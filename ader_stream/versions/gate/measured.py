"""The measurements that the gate takes of a version."""

from __future__ import annotations

from dataclasses import dataclass, field

from ader_stream.stream.model_registry.manifest import GateComparison, GateReport
from ader_stream.versions.gate.bounds import Share
from ader_stream.versions.gate.comparison import ComparisonKind, find_comparison
from ader_stream.versions.gate.measures import Coverage
from ader_stream.versions.gate.pairwise_accuracy import PairwiseAccuracy


@dataclass(frozen=True)
class Measured:
    """Measurements of a version; the value of a Gate in the manifest.

    Parameters
    ----------
    comparisons
        Recalls compared with the parent's and with those of lists made without a model, and pairs
        ranked in the right order compared with co-clicks.
    pairwise_accuracy
        Pairs of what a session clicked next and what another one did, ranked in the right order.
    coverage
        Of its lists.
    negative_flips
        Of the exemplars that the parent lists, those that this version ranks behind a quarter of
        all items.
    new_negative_flips
        The same of samples that no parent knows, whose target other sessions often clicked next
        (`Baselines.neighbours`).
    embedding_drift
        Of the items that the parent has exemplars of, those whose row in the item table is unlike
        the parent's.
    unranked
        Samples and exemplars whose target has a score that is not a number; none may.
    renamed
        Rows of the parent that have another item now, or left without being reported; none may.
    undecided
        Why the samples are too few to judge the version; None where they are enough.
    """

    comparisons: tuple[GateComparison, ...] = ()
    pairwise_accuracy: PairwiseAccuracy = field(default_factory=PairwiseAccuracy)
    coverage: Coverage | None = None
    negative_flips: Share | None = None
    new_negative_flips: Share | None = None
    embedding_drift: Share | None = None
    unranked: int = 0
    renamed: int = 0
    undecided: str | None = None

    def comparison(self, kind: ComparisonKind) -> GateComparison | None:
        """Return the comparison with a parent or a list."""
        return find_comparison(self.comparisons, kind)

    @property
    def _shown(self) -> GateComparison | None:
        """The comparison with the parent; where there is no parent, with the popular items."""
        known = self.comparison(ComparisonKind.PARENT)
        has_parent = self.comparison(ComparisonKind.EXEMPLARS)
        return known if known or has_parent else self.comparison(ComparisonKind.POPULAR)

    def report(self) -> GateReport:
        """Return the report in the manifest, without `unranked` and `renamed`, which reject."""
        shown, known = self._shown, self.comparison(ComparisonKind.PARENT)
        remembered, accuracy = self.comparison(ComparisonKind.EXEMPLARS), self.pairwise_accuracy
        return GateReport(
            samples=shown.samples if shown else 0,
            recall20=shown.recall20 if shown else None,
            parent_recall20=known.other_recall20 if known else None,
            item_coverage=self.coverage.share if self.coverage else None,
            possible_coverage=self.coverage.possible if self.coverage else None,
            exemplars=remembered.samples if remembered else 0,
            exemplar_recall20=remembered.recall20 if remembered else None,
            parent_exemplar_recall20=remembered.other_recall20 if remembered else None,
            mislaid=_percent(self.negative_flips),
            mislaid_low=_low(self.negative_flips),
            new_mislaid=_percent(self.new_negative_flips),
            new_mislaid_low=_low(self.new_negative_flips),
            displaced=_percent(self.embedding_drift),
            displaced_low=_low(self.embedding_drift),
            comparisons=self.comparisons,
            told_apart=_percent(accuracy.version),
            told_apart_low=_low(accuracy.version),
            parent_told_apart=_percent(accuracy.parent),
            parent_told_apart_low=_low(accuracy.parent),
            co_clicks_told_apart=_percent(accuracy.co_clicks),
            co_clicks_told_apart_low=_low(accuracy.co_clicks),
            undecided=self.undecided,
        )


def _percent(share: Share | None) -> float | None:
    return share.percent if share else None


def _low(share: Share | None) -> float | None:
    return share.low if share else None
