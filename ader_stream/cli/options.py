"""Options that several commands share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from ader_stream.settings import Settings, load_settings

Command = Callable[..., Any]


def kafka_options(command: Command) -> Command:
    """Add ``--bootstrap-servers`` and ``--prefix``; the command gets `settings` instead."""

    @click.option("--bootstrap-servers", metavar="HOST:PORT", help="Address of the cluster.")
    @click.option("--prefix", help="Start of the names of our topics and groups.")
    @functools.wraps(command)
    def with_settings(
        bootstrap_servers: str | None, prefix: str | None, **arguments: object
    ) -> object:
        return command(settings=settings_with(bootstrap_servers, prefix), **arguments)

    return with_settings


def settings_with(bootstrap_servers: str | None, prefix: str | None) -> Settings:
    """Settings in which the command line wins."""
    given = {"bootstrap_servers": bootstrap_servers, "prefix": prefix}
    return load_settings(kafka={name: value for name, value in given.items() if value})


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
