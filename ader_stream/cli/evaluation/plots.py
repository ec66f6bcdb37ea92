"""The paper's figure: scores by cycle, this run's over the published curves."""

from __future__ import annotations

from pathlib import Path

from ader_stream.cli.evaluation.result import ResultFile
from ader_stream.paper_results import published_results
from ader_stream.plotting import CURVES, as_png, score_plot

METRICS = {"recall@20": "recall_at_20.png", "mrr@20": "mrr_at_20.png"}


def draw_result(result: ResultFile, folder: Path) -> None:
    """Draw Recall@20 and MRR@20 of the cycles so far; create the folder if needed."""
    folder.mkdir(parents=True, exist_ok=True)
    paper = published_results(str(result.run["fingerprint"]))
    label = f"{result.run['method']} (this run)"
    for metric, name in METRICS.items():
        scores = [(cycle["cycle"], cycle[metric]) for cycle in result.cycles if cycle["targets"]]
        figure = score_plot(scores, metric, paper, list(CURVES), across="cycle", label=label)
        (folder / name).write_bytes(as_png(figure))
