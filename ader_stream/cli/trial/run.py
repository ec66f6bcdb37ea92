"""Run a trial: read, survey, train, and write the page."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import fmean

import click

from ader_stream.cli.trial.advice import (
    FINETUNING,
    PAPER,
    SAMPLED,
    block_facts,
    block_length,
    duration,
)
from ader_stream.cli.trial.baselines import popularity, recall_of, session_knn
from ader_stream.cli.trial.page import Results, page
from ader_stream.cli.trial.sample import (
    STARTING,
    TESTED,
    Sessions,
    last_blocks,
    recent_blocks,
    sessions_of,
    thinned,
)
from ader_stream.cli.trial.survey import Survey, survey
from ader_stream.cli.trial.trained import Trained, train_method
from ader_stream.datasets import TableLayout, open_dataset
from ader_stream.datasets.detect import is_period_folder
from ader_stream.datasets.folder import period_files, read_folder_sessions
from ader_stream.datasets.tables.dataset import TableDataset
from ader_stream.errors import DatasetError
from ader_stream.paths import require_folder
from ader_stream.settings import Settings
from ader_stream.types import MINUTE_MS, SECOND_MS

PROBE = 5_000
"""Clicks that show how fast this machine is; the time for them is some seconds."""

WHOLE_SHARE = 0.4
"""Share of the time for the trainer's own recipe on as many sessions as possible."""

WHOLE_LIMIT = 0.6
"""Share of the time after which that is given up, where other work slows it down."""

MARGIN = 0.8
"""Share of a time that is planned: clicks take longer where more items are known."""

PAPER_COST = 10
"""The compared methods together take about so many times what `production` takes for a click."""


def run(dataset: Path, minutes: float, out: Path, table: TableLayout, settings: Settings) -> None:
    """Try continual training on a data set for some minutes; write the page and print it."""
    require_folder(out.parent, f"the folder for --out {out}; create it first")
    began = time.monotonic()
    if is_period_folder(dataset):
        results, blocks = _periods(dataset)
    else:
        results, blocks = _tables(dataset, table, settings)
    _train(results, blocks, began + minutes * MINUTE_MS / SECOND_MS)
    results.seconds = time.monotonic() - began
    written = page(results)
    out.write_text(written, encoding="utf-8")
    click.echo(written)


def _periods(path: Path) -> tuple[Results, list[Sessions]]:
    last = len(period_files(path)) - 1
    _require_blocks(path, last + 1)
    first = max(0, last + 1 - TESTED - STARTING)
    read = read_folder_sessions(path, range(first, last + 1))
    blocks = last_blocks(read)
    results = Results(path.resolve().name, "", None, "the periods", block_facts(blocks))
    return results, blocks


def _tables(path: Path, layout: TableLayout, settings: Settings) -> tuple[Results, list[Sessions]]:
    dataset = open_dataset(path, settings.block_rule, settings.sessions.gap, layout)
    assert isinstance(dataset, TableDataset)
    found: Survey | None = None
    if layout.has_order_only:
        read = [sessions_of(clicks, settings.sessions.gap) for _, clicks in dataset.blocks()]
        by = "equally many clicks"
    else:
        found = survey(dataset.connection)
        by = duration(block_length(found))
        read = recent_blocks(dataset.connection, found.gap, block_length(found))
    _require_blocks(path, len(read))
    blocks = last_blocks(read)
    return Results(dataset.name, str(dataset.skipped), found, by, block_facts(blocks)), blocks


def _require_blocks(path: Path, blocks: int) -> None:
    if blocks < 2:
        raise DatasetError(
            f"{path}: has {blocks} whole block of an hour or more; expected two or more: one to "
            "train on, and one to predict"
        )


def _train(results: Results, blocks: list[Sessions], until: float) -> None:
    """Fill in baselines and methods: first as many sessions as possible, then a comparison."""
    a_click = _seconds_a_click(thinned(blocks, PROBE, seed=0).sessions, until)
    whole_time = WHOLE_SHARE * (until - time.monotonic())
    whole = thinned(blocks, max(PROBE, int(whole_time * MARGIN / a_click)), seed=0)
    results.whole_share = whole.share
    _say(f"baselines and production on {whole.share:.0%} of the last blocks' sessions")
    for name, baseline in (("popularity", popularity), ("session-kNN", session_knn)):
        results.baselines[name] = fmean(recall_of(baseline, whole.sessions, seed=0))
    limit = WHOLE_LIMIT * (until - time.monotonic())
    results.whole.append(
        train_method("ADER (production)", "ader", "production", whole.sessions, limit)
    )
    left = until - time.monotonic()
    sample = thinned(blocks, max(PROBE, int(left * MARGIN / PAPER_COST / a_click)), seed=0)
    results.sample_share = sample.share
    results.compared = _compare(sample.sessions, until)


def _seconds_a_click(blocks: list[Sessions], until: float) -> float:
    """Return the time that the production recipe takes to train on a click.

    The first cycle also compiles, so only the others count.
    """
    began = time.monotonic()
    probe = train_method("probe", "ader", "production", blocks, until - began)
    if len(probe.seconds) > 1:
        return sum(probe.seconds[1:]) / max(sum(probe.clicks[1:]), 1)
    clicks = sum(len(one) for block in blocks for one in block)
    return (time.monotonic() - began) / max(clicks, 1)


def _compare(blocks: list[Sessions], until: float) -> list[Trained]:
    clicks = sum(len(one) for block in blocks for one in block)
    _say(f"finetuning, and ADER as in the paper and in production, on {clicks:,} clicks")
    left = until - time.monotonic()
    small = train_method(SAMPLED, "ader", "production", blocks, 0.2 * left)
    left = until - time.monotonic()
    ader = train_method(PAPER, "ader", "paper", blocks, 0.7 * left)
    left = until - time.monotonic()
    finetune = train_method(FINETUNING, "finetune", "paper", blocks, left, ader)
    return [finetune, ader, small]


def _say(text: str) -> None:
    click.echo(f"ader-stream try: {text}", err=True)
