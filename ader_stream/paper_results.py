"""Results of the ADER paper, to compare with runs on the same data set.

F. Mi, X. Lin, B. Faltings: ADER: Adaptively Distilled Exemplar Replay Towards Continual Learning
for Session-based Recommendation, RecSys 2020. The means are those of the paper's tables, over
16 cycles; the curves are read off the authors' published figure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from ader_stream.runtime.resources import resource


@dataclass(frozen=True, slots=True)
class Published:
    """Scores by method and metric, in percent.

    Parameters
    ----------
    dataset
        Name in the paper.
    source
        Citation.
    curves
        Method → metric → score of cycles 1, 2, 3 …; cycle t is tested on block t.
    means
        Method → metric → mean over all cycles. More methods and metrics have a mean than a curve.
    """

    dataset: str
    source: str
    curves: Mapping[str, Mapping[str, Sequence[float]]]
    means: Mapping[str, Mapping[str, float]]

    def at(self, metric: str, block: int) -> float | None:
        """Return ADER's score on a block; None if the paper has none.

        >>> DIGINETICA.at("recall@20", block=1), DIGINETICA.at("recall@20", block=0)
        (49.45, None)
        """
        scores = self.curves["ader"][metric]
        return scores[block - 1] if 1 <= block <= len(scores) else None

    def mean(self, method: str, metric: str, cycles: int) -> float | None:
        """Return the mean of the first cycles; None if the paper's curve is shorter.

        >>> DIGINETICA.mean("joint", "recall@20", cycles=2)
        49.815
        """
        curve = self.curves.get(method, {}).get(metric, ())
        return fmean(curve[:cycles]) if 1 <= cycles <= len(curve) else None


def published_results(fingerprint: str | None) -> Published | None:
    """Return the paper's results on the data set with this fingerprint; None if there are none.

    Parameters
    ----------
    fingerprint
        SHA-256 of period 0, uncompressed, as the authors published it.
    """
    return _BY_FINGERPRINT.get(fingerprint or "")


def _read() -> dict[str, Published]:
    entries = json.loads(resource("paper_results.json").read_text(encoding="utf-8"))
    return {fingerprint: Published(**entry) for fingerprint, entry in entries.items()}


_BY_FINGERPRINT = _read()
[DIGINETICA] = _BY_FINGERPRINT.values()
