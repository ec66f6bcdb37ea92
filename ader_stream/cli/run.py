"""``ader-stream run``: run one worker, the same as ``python -m consumers.NAME``."""

from __future__ import annotations

import importlib
from pathlib import Path

import click

from ader_stream.cli.options import kafka_flags, settings_with
from ader_stream.runtime.resources import worker_module
from ader_stream.stream.kafka.clients import client_errors

TRAINER = "trainer"


@click.command()
@click.argument("worker", type=click.Choice(["sessionizer", TRAINER, "inference", "monitor"]))
@click.option(
    "--bootstrap-dataset",
    type=click.Path(path_type=Path),
    help="Trainer: train version 1 on this data set, if there is no version.",
)
@kafka_flags
def run(
    worker: str, bootstrap_dataset: Path | None, bootstrap_servers: str | None, prefix: str | None
) -> None:
    """Run one worker until SIGTERM; its settings come from ADER_… variables or a TOML file."""
    if bootstrap_dataset and worker != TRAINER:
        raise click.UsageError(f"--bootstrap-dataset is for the trainer, not for {worker}")
    given = {"bootstrap_dataset": bootstrap_dataset} if bootstrap_dataset else {}
    settings = settings_with(bootstrap_servers, prefix, trainer=given)
    with client_errors():
        importlib.import_module(worker_module(worker)).run(settings)
