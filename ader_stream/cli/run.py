"""``ader-stream run``: one worker, the same as ``python -m consumers.NAME``."""

from __future__ import annotations

import importlib

import click

from ader_stream.cli.options import kafka_options
from ader_stream.settings import Settings


@click.command()
@click.argument("worker", type=click.Choice(["sessionizer", "trainer", "inference"]))
@kafka_options
def run(worker: str, settings: Settings) -> None:
    """Run one worker until SIGTERM; its settings come from ADER_… variables or a TOML file."""
    importlib.import_module(f"consumers.{worker}").run(settings)
