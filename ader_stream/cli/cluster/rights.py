"""``ader-stream rights``: the rights that each worker and command needs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import click

from ader_stream.cli.options import json_option, kafka_flags, settings_with
from ader_stream.cli.tables import print_table
from ader_stream.settings import Settings
from ader_stream.stream.kafka.rights import Right, principal_of
from ader_stream.stream.operations.needed_rights import ROLES, WORKERS, rights_of

Rights = Sequence[tuple[str, Right]]
"""Role and right."""


@click.command()
@click.option(
    "--as",
    "roles",
    type=click.Choice([*ROLES]),
    multiple=True,
    metavar="ROLE",
    help="A worker, or a command as it is typed ('models pin'); may be repeated. "
    "By default all workers.",
)
@click.option("--principal", help="User to grant them to; by default that of the settings.")
@click.option("--kafka-acls", is_flag=True, help="Print the commands that grant them.")
@click.option("--markdown", is_flag=True, help="Print a Markdown table.")
@json_option
@kafka_flags
def rights(
    roles: tuple[str, ...],
    principal: str | None,
    kafka_acls: bool,
    markdown: bool,
    as_json: bool,
    bootstrap_servers: str | None,
    prefix: str | None,
) -> None:
    """List the fewest rights on the cluster that are enough; asks no broker."""
    settings = settings_with(bootstrap_servers, prefix)
    found = [
        (role, right)
        for role in roles or WORKERS
        for right in rights_of(role, settings.topics, settings.uses)
    ]
    if as_json:
        click.echo(json.dumps([_as_dict(role, right) for role, right in found], indent=2))
    elif kafka_acls:
        click.echo("\n".join(_grants(found, settings, principal)))
    elif markdown:
        click.echo("\n".join(_markdown(found)))
    else:
        rows = ((role, r.resource, _name(r), _operations(r), _why(r)) for role, r in found)
        print_table(("who", "resource", "name", "operations", "for"), rows)


def _as_dict(role: str, right: Right) -> dict[str, Any]:
    return {
        "role": role,
        "resource": right.resource,
        "name": right.name,
        "pattern": right.pattern,
        "operations": right.operations,
        "why": right.why,
        "when": right.when,
    }


def _grants(found: Rights, settings: Settings, principal: str | None) -> Iterator[str]:
    """Yield the commands, each once; those of conditional rights are comments."""
    who = principal or principal_of(settings.kafka.librdkafka)
    said = set[str]()
    for _, right in found:
        grant = right.grant(settings.kafka.bootstrap_servers, who)
        if grant not in said:
            said.add(grant)
            yield f"# only if {right.when}: {grant}" if right.when else grant


def _markdown(found: Rights) -> Iterator[str]:
    yield "| who | resource | name | operations | for |"
    yield "|---|---|---|---|---|"
    for role, right in found:
        cells = (f"`{role}`", right.resource, f"`{_name(right)}`", _operations(right), _why(right))
        yield f"| {' | '.join(cells)} |"


def _name(right: Right) -> str:
    return f"{right.name}*" if right.pattern == "prefixed" else right.name


def _operations(right: Right) -> str:
    return ", ".join(right.operations)


def _why(right: Right) -> str:
    return f"{right.why}; only if {right.when}" if right.when else right.why
