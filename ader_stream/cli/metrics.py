"""``ader-stream metrics``: the catalogue."""

from __future__ import annotations

import json

import click
from rich.console import Console
from rich.table import Table

from ader_stream.cli.options import json_option
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
    table = Table("name", "type", "unit", "labels", "meaning")
    for row in rows:
        labels = ", ".join(row["labels"])
        table.add_row(
            str(row["name"]), str(row["type"]), str(row["unit"]), labels, str(row["meaning"])
        )
    Console().print(table)
