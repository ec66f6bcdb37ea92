"""``ader-stream offsets``: show the workers' offsets in the clicks, and correct them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import click

from ader_stream.cli.options import UNCHANGED, json_option, kafka_options, yes_option
from ader_stream.cli.whole_help import WholeHelpGroup
from ader_stream.errors import InputError
from ader_stream.settings import Settings
from ader_stream.stream.operations.offsets import (
    WorkerPlace,
    is_moved,
    restore_group,
    skip_lost,
    worker_places,
)


@click.group(cls=WholeHelpGroup)
def offsets() -> None:
    """Show the workers' offsets in the clicks, and correct them."""


def partition_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--partition``, repeatable; the command gets `chosen`."""
    return click.option(
        "--partition",
        "chosen",
        type=click.IntRange(0),
        multiple=True,
        help="Only this one; may be repeated. By default all that need it.",
    )(command)


@offsets.command()
@json_option
@kafka_options
def show(as_json: bool, settings: Settings) -> None:
    """Print the extent of each partition's log, and where each worker continues."""
    settings.clients.check_reachable()
    places = list(worker_places(settings.clients, settings.topics))
    for place in places:
        click.echo(json.dumps(_fields(place)) if as_json else _line(place, settings))
    if not (places or as_json):
        click.echo(f"no worker has begun to read {settings.topics.clicks}")


@offsets.command()
@partition_option
@yes_option
@kafka_options
def skip(chosen: tuple[int, ...], yes: bool, settings: Settings) -> None:
    """Move workers past records that were deleted before they were read.

    Open sessions and scores stay. Skipped records are logged in `sessions`, counted, and exported
    as ader_skipped_records_total. A running worker joins its group again.
    """
    places = [p for p in _chosen(settings, chosen) if p.target != p.place]
    for place in places:
        click.echo(f"{_name(place, settings)}: {_loss(place)}; continues at {place.target}")
        if yes:
            skip_lost(settings.clients, settings.topics, place)
    _end(places, yes=yes)


@offsets.command()
@partition_option
@yes_option
@kafka_options
def restore(chosen: tuple[int, ...], yes: bool, settings: Settings) -> None:
    """Set the groups' offsets, if they were moved, back to those of the workers' own records."""
    places = [*filter(is_moved, _chosen(settings, chosen))]
    for place in places:
        click.echo(f"{_line(place, settings)} -> {place.place}")
        if yes:
            restore_group(settings.clients, settings.topics, place)
    _end(places, yes=yes)


def _chosen(settings: Settings, chosen: tuple[int, ...]) -> Iterator[WorkerPlace]:
    settings.clients.check_reachable()
    places = list(worker_places(settings.clients, settings.topics))
    if unknown := {*chosen} - {place.partition for place in places}:
        raise InputError(
            f"--partition {min(unknown)}: no worker has begun to read "
            f"{settings.topics.clicks}/{min(unknown)}; `ader-stream offsets show` lists those"
        )
    return (place for place in places if not chosen or place.partition in chosen)


def _end(places: Sequence[WorkerPlace], *, yes: bool) -> None:
    if not places:
        click.echo("nothing to change")
    elif not yes:
        click.echo(UNCHANGED)


def _loss(place: WorkerPlace) -> str:
    if place.lost:
        return f"{place.lost} records are lost, offsets {place.place} to {place.log.first - 1}"
    return f"the log has lost its end, offsets {place.log.end} to {place.place - 1}"


def _name(place: WorkerPlace, settings: Settings) -> str:
    return f"{settings.topics.clicks}/{place.partition} {place.worker}"


def _line(place: WorkerPlace, settings: Settings) -> str:
    group = "expired" if place.group is None else str(place.group.offset)
    return (
        f"{_name(place, settings)}: at {place.place}, group {group}, log {place.log.first} to "
        f"{place.log.end}"
    )


def _fields(place: WorkerPlace) -> dict[str, object]:
    return {
        "worker": place.worker,
        "partition": place.partition,
        "next_offset": place.place,
        "group_offset": place.group.offset if place.group else None,
        "first_offset": place.log.first,
        "end_offset": place.log.end,
        "lost": place.lost,
    }
