"""Results of a demo run: the content of ``report.json``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ader_stream.types import Click, Counts


@dataclass(frozen=True, slots=True)
class Update:
    """The update cycle that trained on a block.

    Parameters
    ----------
    version, parent
        The published version, and its parent; version 1 has no parent.
    train_seconds
        Duration of all epochs with their validation.
    epochs
        Number of trained epochs, including those after the best.
    exemplars
        Number of exemplars for the next cycle.
    adaptive_weight
        λ_t.
    validation_recall
        Recall@20 of the best epoch on the validation samples, in percent; None without validation.
    publish_to_live_seconds
        From the manifest's commit until every partition was served by it; None if that did not
        happen.
    """

    version: int
    parent: int | None
    train_seconds: float
    epochs: int
    exemplars: int
    adaptive_weight: float
    validation_recall: float | None = None
    publish_to_live_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class BlockReport:
    """One block: its clicks, their scores, and the update cycle that trained on them.

    Parameters
    ----------
    block, clicks, sessions
        The number of the block, its clicks and its sessions.
    new_item_share
        Clicks on items that no earlier block had, in percent; None for the first block.
    scored_by_version, prequential
        The version that served these clicks, and its scores; None for the first block.
    update
        The cycle that trained on the block; None where it was only scored.
    """

    block: int
    clicks: int
    sessions: int
    new_item_share: float | None = None
    scored_by_version: int | None = None
    prequential: Counts | None = None
    update: Update | None = None

    def score(self, metric: str) -> float | None:
        """Return a prequential metric in percent, such as ``recall@20``; None without scores."""
        return self.prequential.percentages().get(metric) if self.prequential else None

    def as_json(self) -> dict[str, object]:
        """Return plain values by the names of ``report.json``."""
        update = self.update
        return {
            "block": self.block,
            "clicks": self.clicks,
            "sessions": self.sessions,
            "new_item_share": self.new_item_share,
            "version": update and update.version,
            "parent": update and update.parent,
            "train_seconds": update and update.train_seconds,
            "epochs": update and update.epochs,
            "exemplars": update and update.exemplars,
            "lambda": update and update.adaptive_weight,
            "validation_recall@20": update and update.validation_recall,
            "publish_to_live_seconds": update and update.publish_to_live_seconds,
            "scored_by_version": self.scored_by_version,
            "prequential": self._prequential_json(),
        }

    def _prequential_json(self) -> dict[str, float | None] | None:
        if self.prequential is None:
            return None
        metrics = ("recall@10", "recall@20", "mrr@10", "mrr@20")
        return {
            **{metric: self.score(metric) for metric in metrics},
            "targets": self.prequential.targets,
            "unknown_items": self.prequential.unknown,
        }


@dataclass(frozen=True, slots=True)
class KafkaReport:
    """The broker of the run: its version and its source."""

    version: str
    source: str


@dataclass(frozen=True, slots=True)
class DemoReport:
    """A run of the demo.

    Parameters
    ----------
    dataset, simulated
        Name of the data set, and whether its clicks are simulated.
    clicks_sent, clicks_consumed
        Clicks that the replay sent, and that the sessionizer read.
    seconds
        Duration of the run.
    """

    dataset: str
    simulated: bool
    kafka: KafkaReport
    clicks_sent: int
    clicks_consumed: int
    sessions_published: int
    dead_letters: int
    seconds: float
    blocks: tuple[BlockReport, ...]

    def mean(self, metric: str) -> float | None:
        """Return the unweighted mean over the scored blocks, as in the paper; None without one."""
        scores = [score for block in self.blocks if (score := block.score(metric)) is not None]
        return sum(scores) / len(scores) if scores else None

    def as_json(self) -> dict[str, object]:
        """Return plain values by the names of ``report.json``."""
        return {
            "dataset": self.dataset,
            "simulated": self.simulated,
            "kafka": {"version": self.kafka.version, "source": self.kafka.source},
            "clicks_sent": self.clicks_sent,
            "clicks_consumed": self.clicks_consumed,
            "sessions_published": self.sessions_published,
            "dead_letters": self.dead_letters,
            "seconds": self.seconds,
            "blocks": [block.as_json() for block in self.blocks],
        }


class SeenItems:
    """The set of items clicked so far.

    >>> seen = SeenItems()
    >>> seen.new_share([Click("a", "hat", 1)]), seen.new_share([Click("a", "hat", 2)])
    (None, 0.0)
    """

    def __init__(self) -> None:
        self._items: set[str] = set()

    def new_share(self, clicks: Sequence[Click]) -> float | None:
        """Return the share of a block's clicks on items that no earlier block had, in percent.

        None for the first block, and for one without clicks. Afterwards the block's items count as
        seen.
        """
        is_first = not self._items
        new = sum(click.item not in self._items for click in clicks)
        self._items.update(click.item for click in clicks)
        return None if is_first or not clicks else 100 * new / len(clicks)
