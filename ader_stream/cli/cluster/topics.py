"""``ader-stream topics``: create missing topics, check existing ones, fix unsafe properties."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ader_stream.cli.options import connect, kafka_options
from ader_stream.errors import TopicError
from ader_stream.paths import write_new_text
from ader_stream.settings import Settings
from ader_stream.stream.topics.differences import alter as alter_configs
from ader_stream.stream.topics.differences import reassignment as plan_of
from ader_stream.stream.topics.differences import replicas_text
from ader_stream.stream.topics.safety import (
    Unsafe,
    check_clicks_are_kept,
    check_configs,
    find_unsafe,
)
from ader_stream.stream.topics.topics import check_topics, create_topics, grow_topics


@click.group()
def topics() -> None:
    """Set up the topics."""


@topics.command()
@click.option(
    "--partitions",
    type=click.IntRange(1),
    default=4,
    show_default=True,
    help="Partitions of the clicks topic, unless it exists.",
)
@click.option(
    "--with-clicks",
    is_flag=True,
    help="Also create the topic in clicks.topic, if it does not exist.",
)
@kafka_options
def create(partitions: int, with_clicks: bool, settings: Settings) -> None:
    """Create every missing topic, and partitions that our topics need to match the clicks topic."""
    clients = settings.clients
    connect(settings, "topics create")
    created = create_topics(clients.admin(), settings.topics, partitions, with_clicks=with_clicks)
    grow_topics(clients.admin(), settings.topics)
    click.echo("\n".join(f"created {name}" for name in created) or "every topic exists")


@topics.command()
@kafka_options
def check(settings: Settings) -> None:
    """Check that every topic exists with the partitions, replicas and properties it needs."""
    clients = settings.clients
    connect(settings, "topics check")
    partitions = check_topics(clients.admin(), settings.topics)
    check_configs(clients.admin(), settings.topics)
    check_clicks_are_kept(clients.admin(), settings.topics.clicks)
    click.echo(f"every topic exists; {settings.topics.clicks} has {partitions} partitions")


@topics.command()
@click.option(
    "--reassignment",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write a plan for more replicas to this file, for Kafka's own tool.",
)
@kafka_options
def alter(reassignment: Path | None, settings: Settings) -> None:
    """Set the properties of our topics in which `check` finds a difference.

    Kafka's own tool adds replicas: the plan for it is written to a file. Exits with 1 while
    replicas are missing.
    """
    clients = settings.clients
    connect(settings, "topics alter")
    check_topics(clients.admin(), settings.topics)
    unsafe = find_unsafe(clients.admin(), settings.topics)
    alter_configs(clients.admin(), unsafe.configs)
    for difference in unsafe.configs:
        click.echo(f"{difference.topic}: {difference.name}={difference.expected}")
    if unsafe.few:
        raise TopicError(
            f"{replicas_text(unsafe.few)}: run {_how_to_add(unsafe, reassignment, settings)}"
        )
    if not unsafe.configs:
        click.echo("all topics of ader-stream keep their records as needed")


def _how_to_add(unsafe: Unsafe, file: Path | None, settings: Settings) -> str:
    """Write the plan that adds replicas, if the user names a file; return how to carry it out."""
    if file is None:
        return "`ader-stream topics alter --reassignment FILE` for a plan that adds them"
    plan = json.dumps(plan_of(unsafe.few, unsafe.brokers))
    write_new_text(file, plan, "--reassignment")
    return (
        f"`kafka-reassign-partitions.sh --bootstrap-server {settings.kafka.bootstrap_servers} "
        f"--reassignment-json-file {file} --execute`, and this command again once it is done"
    )
