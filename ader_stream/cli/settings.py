"""``ader-stream settings``: list every setting, its variable, default and meaning."""

from __future__ import annotations

import json

import click

from ader_stream.cli.options import json_option
from ader_stream.cli.tables import print_table
from ader_stream.settings import describe_settings
from ader_stream.stream.control.rules import changes_table


@click.command()
@json_option
@click.option("--markdown", is_flag=True, help="Print a Markdown table.")
@click.option("--changes", is_flag=True, help="Print when settings may change, as Markdown.")
def settings(as_json: bool, markdown: bool, changes: bool) -> None:
    """List every setting: TOML name, environment variable, default, meaning."""
    rows = describe_settings()
    if changes:
        _print_changes()
    elif as_json:
        names = ("name", "variable", "default", "meaning")
        click.echo(json.dumps([dict(zip(names, row, strict=True)) for row in rows], indent=2))
    elif markdown:
        click.echo("| setting | default | meaning |\n|---|---|---|")
        for name, _, default, meaning in rows:
            click.echo(f"| `{name}` | {f'`{default}`' if default else ''} | {meaning} |")
    else:
        print_table(("setting", "variable", "default", "meaning"), rows)


def _print_changes() -> None:
    click.echo("| settings | may change | then |\n|---|---|---|")
    for names, may_change, effect in changes_table():
        click.echo(f"| {names} | {may_change} | {effect} |")
