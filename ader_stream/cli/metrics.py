"""``ader-stream metrics``: list the catalogue."""

from __future__ import annotations

import json

import click

from ader_stream.cli.options import json_option
from ader_stream.cli.tables import print_table
from ader_stream.metrics import CATALOGUE


@click.command()
@json_option
def metrics(as_json: bool) -> None:
    """List every metric: name, type, unit, labels, meaning."""
    rows = [
        {
            "name": metric.name,
            "type": metric.kind.__name__.lower(),
            "unit": metric.unit,
            "labels": list(metric.labels),
            "meaning": metric.meaning,
        }
        for metric in CATALOGUE
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    table = (
        (m.name, m.kind.__name__.lower(), m.unit, ", ".join(m.labels), m.meaning) for m in CATALOGUE
    )
    print_table(("name", "type", "unit", "labels", "meaning"), table)
