"""``ader-stream broker``: an Apache Kafka with one node on this machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import click
from platformdirs import user_cache_path, user_state_path

from ader_stream.cli.options import json_option
from ader_stream.cli.whole_help import WholeHelpGroup
from ader_stream.local_kafka import LocalKafka, delete_data, find_kafka, start_kafka, stop_kafka
from ader_stream.local_kafka.ready import answers
from ader_stream.runtime.logs import configure_logs
from ader_stream.settings import KafkaSettings, kafka_image, load_settings

APPLICATION = "ader-stream"
STATUS_TIMEOUT_S = 5.0

data_option = click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default=lambda: user_state_path(APPLICATION) / "kafka",
    show_default="the user's state folder",
    help="Folder of the broker; one folder is one broker.",
)


@click.group(cls=WholeHelpGroup)
def broker() -> None:
    """Start, stop and check a local Kafka: from a Docker engine, or from Java 17."""


@broker.command()
@data_option
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    show_default="9092, or any free one if that is taken",
    help="Port on this machine.",
)
@click.option(
    "--source",
    type=click.Choice(["auto", "docker", "java"]),
    default="auto",
    show_default=True,
    help="Source of Kafka; auto takes the first that works.",
)
@click.option("--bootstrap-servers", metavar="HOST:PORT", help="A running Kafka: only check it.")
@json_option
def up(
    data: Path,
    port: int | None,
    source: Literal["auto", "docker", "java"],
    bootstrap_servers: str | None,
    as_json: bool,
) -> None:
    """Start the broker, or find the one that already runs, and print its address.

    The container image is KAFKA_IMAGE, or the official apache/kafka.
    """
    settings = load_settings()
    configure_logs(settings.log.format, settings.log.level)
    running = find_kafka(data)
    kafka = start_kafka(
        data,
        image=kafka_image(),
        cache=user_cache_path(APPLICATION),
        port=port,
        source=source,
        address=bootstrap_servers or _address_in(settings.kafka),
    )
    _print(kafka, "already runs" if kafka == running else "runs", as_json)


@broker.command()
@data_option
@click.option("--delete-data", "deletes", is_flag=True, help="Delete its topics too.")
def down(data: Path, deletes: bool) -> None:
    """Stop the broker; its topics stay, unless --delete-data is given."""
    kafka = find_kafka(data)
    if kafka:
        stop_kafka(kafka)
    click.echo(f"stopped {kafka.bootstrap_servers}" if kafka else "no local Kafka runs")
    if deletes:
        delete_data(data)


@broker.command()
@data_option
@json_option
@click.pass_context
def status(context: click.Context, data: Path, as_json: bool) -> None:
    """Print whether the broker runs and answers; exit code 1 if not."""
    kafka = find_kafka(data)
    if kafka and answers(kafka.bootstrap_servers, STATUS_TIMEOUT_S):
        _print(kafka, "runs", as_json)
        return
    reason = f"{kafka.bootstrap_servers} does not answer" if kafka else "no local Kafka runs"
    click.echo("null" if as_json else reason)
    context.exit(1)


def _address_in(settings: KafkaSettings) -> str | None:
    """Return the address that the user has set; the default one does not prevent a local Kafka."""
    given = "bootstrap_servers" in settings.model_fields_set
    return settings.bootstrap_servers if given else None


def _print(kafka: LocalKafka, state: str, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(kafka.as_json()))
        return
    click.echo(f"{kafka.bootstrap_servers}  ({_origin(kafka)} {state})")


def _origin(kafka: LocalKafka) -> str:
    if kafka.source == "given":
        return "the given cluster"
    return f"Apache Kafka {kafka.version} from {kafka.source}, data in {kafka.data},"
