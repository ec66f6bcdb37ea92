"""Curves of the paper, for runs on the data set that it used.

F. Mi, X. Lin, B. Faltings: ADER: Adaptively Distilled Exemplar Replay Towards Continual Learning
for Session-based Recommendation, RecSys 2020. Read off the authors' published figure of DIGINETICA,
cycles 1 to 16; their means are those of the paper's table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PublishedCurves:
    """Scores by update cycle, in percent; cycle t is tested on block t.

    Parameters
    ----------
    dataset
        As the paper calls it.
    source
        Whom to cite.
    ader, finetune
        Metric → score of cycles 1, 2, 3 …
    """

    dataset: str
    source: str
    ader: Mapping[str, tuple[float, ...]]
    finetune: Mapping[str, tuple[float, ...]]

    def at(self, metric: str, block: int) -> float | None:
        """ADER's score on a block; None where the paper has none.

        >>> DIGINETICA.at("recall@20", block=1), DIGINETICA.at("recall@20", block=0)
        (49.45, None)
        """
        scores = self.ader[metric]
        return scores[block - 1] if 1 <= block <= len(scores) else None


# fmt: off
DIGINETICA = PublishedCurves(
    dataset="DIGINETICA",
    source="Mi, Lin, Faltings: ADER, RecSys 2020",
    ader={
        "recall@20": (
            49.45, 50.79, 51.23, 51.19, 49.85, 51.29, 49.86, 48.99,
            50.23, 50.35, 49.39, 48.06, 49.28, 49.96, 51.76, 51.71,
        ),
        "mrr@20": (
            17.71, 18.18, 17.71, 18.39, 17.52, 17.85, 17.49, 17.04,
            17.27, 17.11, 16.79, 15.96, 16.37, 17.31, 17.21, 17.26,
        ),
    },
    finetune={
        "recall@20": (
            46.30, 47.95, 47.64, 48.36, 46.89, 48.01, 46.05, 46.14,
            47.53, 47.62, 46.87, 45.24, 46.28, 46.88, 48.70, 50.08,
        ),
        "mrr@20": (
            16.49, 16.80, 16.44, 17.00, 16.00, 16.53, 15.92, 15.88,
            16.33, 16.05, 15.46, 14.72, 14.90, 15.51, 15.79, 16.28,
        ),
    },
)
# fmt: on

_BY_FINGERPRINT = {"1c6f7164ad544a483804fc0324a2023801537e5e5db9af0a76d04eca2b83ec86": DIGINETICA}
"""SHA-256 of period 0, uncompressed, as the authors published it."""


def published_curves(fingerprint: str | None) -> PublishedCurves | None:
    """Curves of the data set with this fingerprint; None where the paper has none."""
    return _BY_FINGERPRINT.get(fingerprint or "")
