"""``ader-stream topics``: create missing topics, check existing ones, fix unsafe properties."""

from __future__ import annotations

import json
from pathlib import Path

import click

from ader_stream.cli.options import connect, json_option, kafka_options
from ader_stream.cli.whole_help import WholeHelpGroup
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


@click.group(cls=WholeHelpGroup)
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
@json_option
@kafka_options
@click.pass_context
def check(context: click.Context, as_json: bool, settings: Settings) -> None:
    """Check that every topic exists with the partitions, replicas and properties it needs.

    Exits with 1 if not; with --json, `problems` says what is wrong.
    """
    connect(settings, "topics check")
    if as_json:
        found = _check_all(settings)
        click.echo(json.dumps(found))
        context.exit(1 if found["problems"] else 0)
    partitions = _check(settings)
    click.echo(f"every topic exists; {settings.topics.clicks} has {partitions} partitions")


def _check(settings: Settings) -> int:
    """Return the partitions of the clicks topic; raise `TopicError` for what is wrong first."""
    admin, topics = settings.clients.admin(), settings.topics
    partitions = check_topics(admin, topics)
    check_configs(admin, topics)
    check_clicks_are_kept(admin, topics.clicks)
    return partitions


def _check_all(settings: Settings) -> dict[str, object]:
    """Return the clicks topic, its partitions (None if topics are wrong), and what is wrong."""
    try:
        partitions, problems = _check(settings), []
    except TopicError as error:
        partitions, problems = None, [str(error)]
    return {"clicks": settings.topics.clicks, "partitions": partitions, "problems": problems}


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
