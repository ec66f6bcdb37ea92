"""``ader-stream schemas``: check whether the records in the topics match the schemas here."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from ader_stream.cli.options import connect, json_option, kafka_options
from ader_stream.cli.whole_help import WholeHelpGroup
from ader_stream.settings import Settings
from ader_stream.stream.operations.schema_check import SchemaUse, check_schemas


@click.group(cls=WholeHelpGroup)
def schemas() -> None:
    """Check the schemas of our own records."""


@schemas.command()
@click.option(
    "--sample",
    type=click.IntRange(1),
    default=1_000,
    show_default=True,
    help="Records at the start and at the end of each partition.",
)
@click.option("--all", "every", is_flag=True, help="Check every record instead.")
@json_option
@kafka_options
@click.pass_context
def check(
    context: click.Context, sample: int, every: bool, as_json: bool, settings: Settings
) -> None:
    """Print which schemas our topics have; exit code 1 if one cannot be read here."""
    connect(settings, "schemas check")
    failed = False
    uses = check_schemas(settings.clients, settings.topics, None if every else sample)
    for use in uses:
        failed |= use.state == "unreadable"
        click.echo(json.dumps(asdict(use)) if as_json else _as_line(use))
    context.exit(1 if failed else 0)


def _as_line(use: SchemaUse) -> str:
    what = f"{use.state:10}  {use.topic}  {use.type} {use.schema}  {use.records} records"
    return f"{what}: {use.problem}" if use.problem else what
