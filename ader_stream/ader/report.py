"""The report of an update cycle: what it trained, on what, and how long that took."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ader_stream.ader.data.arrays import Float32
from ader_stream.ader.data.vocabulary import Vocabulary
from ader_stream.ader.training.learner import FitResult
from ader_stream.ader.training.split import CycleData

FREQUENT_ITEMS = 100
"""Items that are recommended for a session without a known item."""


@dataclass(frozen=True, slots=True)
class CycleReport:
    """Statistics of an update cycle, in plain numbers.

    Parameters
    ----------
    epochs, best_epoch
        Epochs trained, and the one whose weights the new version has.
    losses
        Mean loss of every epoch.
    validation
        Recall@20 of every epoch, in percent; empty where nothing was held out.
    adaptive_weight
        λ of the cycle; 0 without exemplars.
    exemplars
        Kept for the next cycle.
    train_samples
        |D_t|: sub-sequences trained on, validation taken out.
    validation_samples
        Sub-sequences held out.
    sessions, clicks
        Of the block, before anything is left out.
    items, new_items
        Items known afterwards, and how many of them the block added.
    train_seconds
        Epochs and their validation.
    samples_per_second
        New sub-sequences and exemplars, over the seconds of training alone.
    herding_seconds
        Allocation, representations, herding.
    frequent_items
        Most clicked first, older clicks counting less, `FREQUENT_ITEMS` at most; clicks held out
        are not counted.
    left_items
        Items that the parent knows and this version does not.
    recall_at_risk
        Percent of the targets whose items were due to leave, and stay because they were clicked.
        Had they left a block before, recall would be lower by as much at most: what leaving costs
        on the next block. None where no item was due.
    is_rebuilt
        Whether the model has another architecture than the parent's, and was trained from first
        weights.
    earlier_sessions
        Sessions of earlier blocks that such a model was trained on again.
    """

    epochs: int
    best_epoch: int
    losses: list[float]
    validation: list[float]
    adaptive_weight: float
    exemplars: int
    train_samples: int
    validation_samples: int
    sessions: int
    clicks: int
    items: int
    new_items: int
    train_seconds: float
    samples_per_second: float
    herding_seconds: float
    frequent_items: list[str]
    left_items: int = 0
    recall_at_risk: float | None = None
    is_rebuilt: bool = False
    earlier_sessions: int = 0


NOTHING_DONE = CycleReport(0, 0, [], [], 0.0, 0, 0, 0, 0, 0, 0, 0, 0.0, 0.0, 0.0, [])
"""The report of a block that could not be trained."""


def report_cycle(
    data: CycleData,
    fitted: FitResult,
    *,
    adaptive_weight: float,
    exemplars: int,
    clicks: Float32,
    samples_per_second: float,
    herding_seconds: float,
) -> CycleReport:
    """Return the report of a cycle.

    Parameters
    ----------
    data
        What it trained on.
    fitted
        Its epochs.
    adaptive_weight
        λ_t.
    exemplars
        Selected for the next cycle.
    clicks
        Of each item (I,), older ones counting less.
    samples_per_second, herding_seconds
        See `CycleReport`.
    """
    return CycleReport(
        epochs=len(fitted.losses),
        best_epoch=fitted.best_epoch,
        losses=fitted.losses,
        validation=fitted.validation,
        adaptive_weight=adaptive_weight,
        exemplars=exemplars,
        train_samples=len(data.training),
        validation_samples=len(data.validation),
        sessions=data.sessions,
        clicks=data.clicks,
        items=len(data.vocabulary),
        new_items=len(data.vocabulary) - len(data.before.vocabulary),
        train_seconds=fitted.seconds,
        samples_per_second=samples_per_second,
        herding_seconds=herding_seconds,
        frequent_items=_most_clicked(clicks, data.vocabulary),
        left_items=int(np.count_nonzero(~data.split.stayed)),
        recall_at_risk=_recall_at_risk(data),
        is_rebuilt=data.is_rebuilt,
        earlier_sessions=data.earlier_sessions,
    )


def _recall_at_risk(data: CycleData) -> float | None:
    """Return the percent of the targets that are items that were due to leave."""
    if not data.due.any():
        return None
    stayed = data.split.stayed
    is_due = np.zeros(len(data.vocabulary) + 1, np.bool_)  # by item index (I + 1,)
    is_due[1 : 1 + np.count_nonzero(stayed)] = data.due[stayed]
    return 100 * float(np.mean(is_due[data.split.candidates.labels]))


def _most_clicked(clicks: Float32, vocabulary: Vocabulary) -> list[str]:
    """Order items by their clicks (I,), the most clicked first; of equal ones, the older."""
    order = np.argsort(-clicks, kind="stable")[:FREQUENT_ITEMS]
    return [vocabulary.item(row + 1) for row in order[clicks[order] > 0].tolist()]
