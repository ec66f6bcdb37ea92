"""Options that several commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import click

from ader_stream.settings import Settings, load_settings
from ader_stream.stream.kafka.clients import client_errors
from ader_stream.stream.operations import needed_rights as rights
from ader_stream.times import parse_duration

Command = Callable[..., Any]


def kafka_flags(command: Command) -> Command:
    """Add ``--bootstrap-servers`` and ``--prefix``."""
    add_servers = click.option(
        "--bootstrap-servers", metavar="HOST:PORT", help="Address of the cluster."
    )
    add_prefix = click.option("--prefix", help="Start of the names of our topics and groups.")
    return add_servers(add_prefix(command))


def kafka_options(command: Command) -> Command:
    """Add ``--bootstrap-servers`` and ``--prefix``; the command gets `settings` instead."""

    @kafka_flags
    @functools.wraps(command)
    def with_settings(
        bootstrap_servers: str | None, prefix: str | None, **arguments: object
    ) -> object:
        settings = settings_with(bootstrap_servers, prefix)
        with client_errors():
            return command(settings=settings, **arguments)

    return with_settings


def connect(settings: Settings, command: str) -> None:
    """Return if a broker answers and the user has the rights of a command."""
    rights.connect(settings.clients, command, settings.topics, settings.uses)


def settings_with(
    bootstrap_servers: str | None, prefix: str | None, **groups: Mapping[str, object]
) -> Settings:
    """Return settings with those of the command line and of `groups` (group → name → value)."""
    given = {"bootstrap_servers": bootstrap_servers, "prefix": prefix}
    kafka = {name: value for name, value in given.items() if value}
    return load_settings(kafka=kafka, **groups)


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def read_duration(_context: click.Context, _parameter: click.Parameter, value: str) -> int:
    """Read an option that is a duration as in settings (30m), as ms."""
    try:
        return parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r}: {error}") from None


UNCHANGED = "nothing was changed: add --yes to do it"
"""Last line of a command that only prints what it would do."""

yes_option = click.option(
    "--yes", is_flag=True, help="Do it; without this, only print what would be done."
)
