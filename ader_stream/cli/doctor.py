"""``ader-stream doctor``: what is wrong with connection, topics, settings, clicks."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from ader_stream.cli.options import json_option, kafka_options
from ader_stream.settings import Settings
from ader_stream.stream.diagnosis import diagnose

MARKS = {"ok": "ok     ", "warning": "warning", "error": "ERROR  "}


@click.command()
@json_option
@kafka_options
@click.pass_context
def doctor(context: click.Context, as_json: bool, settings: Settings) -> None:
    """Say what is wrong and how to mend it; exit code 1 if something must be mended."""
    failed = False
    for finding in diagnose(settings.clients, settings.topics, settings.click_format):
        failed |= finding.level == "error"
        text = f"{MARKS[finding.level]}  {finding.text}"
        click.echo(json.dumps(asdict(finding)) if as_json else text)
    context.exit(1 if failed else 0)
