"""``ader-stream demo``: run the whole system on one machine, and write a report."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import click
from platformdirs import user_cache_path

from ader_stream.cli.extras import require
from ader_stream.cli.options import kafka_options
from ader_stream.cli.table_options import dataset_option, table_options
from ader_stream.datasets import Dataset, SimulatedShop, TableLayout, open_dataset, read_through
from ader_stream.demo.report import DemoReport
from ader_stream.demo.run import DemoPlan, run_demo, running_workers
from ader_stream.demo.trying import Running, what_to_try
from ader_stream.demo.workers import Workers
from ader_stream.local_kafka import Guard, LocalKafka, start_kafka, stop_kafka
from ader_stream.paper_results import published_results
from ader_stream.paths import make_folder
from ader_stream.settings import Settings, kafka_image, load_settings
from ader_stream.stream.model_registry.registry import read_registry

SHOP_OVERRIDES = {
    "hidden": 64,
    "batch_size": 128,
    "learning_rate": 2e-3,
    "max_epochs": 8,
    "patience": 2,
    "exemplars": 4_000,
}
"""A shop of about 1,500 items needs no larger model, and a demo must end within minutes."""


@click.command()
@dataset_option("{}; by default a simulated shop.")
@click.option("--blocks", type=click.IntRange(1), help="Blocks after the first; by default all.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("out"),
    show_default=True,
    help="Folder for the report and the workers' logs.",
)
@click.option(
    "--partitions",
    type=click.IntRange(1),
    default=4,
    show_default=True,
    help="Partitions of the clicks topic.",
)
@click.option(
    "--keep",
    is_flag=True,
    help="Leave everything running after the report until Ctrl-C, and print what to try.",
)
@click.option(
    "--with-monitoring",
    is_flag=True,
    help="Also run the monitor, Prometheus and Alertmanager with ader-stream's rules; both must be "
    "on the PATH.",
)
@kafka_options
@table_options
def demo(
    dataset: Path | None,
    blocks: int | None,
    out: Path,
    partitions: int,
    keep: bool,
    with_monitoring: bool,
    table: TableLayout,
    settings: Settings,
) -> None:
    """Start a Kafka and every worker, replay clicks block by block, and write a report.

    With ADER_KAFKA_BOOTSTRAP_SERVERS or --bootstrap-servers, that Kafka is used instead of a local
    one; the topics of the run have a prefix of their own there, and stay. All processes that the
    demo started are stopped at its end, even if it fails.
    """
    require("torch", "safetensors", "matplotlib", "jinja2")  # before any process is started
    programs = _monitoring_programs() if with_monitoring else {}
    make_folder(out, "--out")
    started = time.monotonic()
    clicks, overrides = _choose(dataset, table, settings)
    count = None if blocks is None else blocks + 1
    extent = read_through(clicks, count)
    click.echo(f"{extent.clicks:,} clicks: {_describe(clicks)}")
    with _terminated_like_interrupted(), Guard() as guard, _kafka(settings, out, guard) as kafka:
        here = _settings_for(settings, kafka)
        _say_where(kafka, here, out)
        addresses = _monitoring_addresses(programs)
        if addresses:
            overrides = {
                **overrides,
                "monitor": {"prometheus": f"http://{addresses['prometheus']}"},
            }
        plan = DemoPlan(clicks, count, out, partitions, overrides, with_monitoring)
        with (
            running_workers(plan, here, guard) as workers,
            _monitoring(programs, addresses, out, guard, workers, here),
        ):
            report = run_demo(plan, here, kafka, workers)
            _write(report, clicks, out)
            _summarise(report, out, time.monotonic() - started)
            if keep:
                _leave_running(workers, here)
        guard.release()


def _monitoring_programs() -> Mapping[str, str]:
    require("yaml")
    from ader_stream.demo.monitoring import find_programs  # noqa: PLC0415 - only where it is asked

    return find_programs()


def _monitoring_addresses(programs: Mapping[str, str]) -> Mapping[str, str]:
    if not programs:
        return {}
    from ader_stream.demo.monitoring import choose_addresses  # noqa: PLC0415

    return choose_addresses(programs)


@contextmanager
def _monitoring(
    programs: Mapping[str, str],
    addresses: Mapping[str, str],
    out: Path,
    guard: Guard,
    workers: Workers,
    settings: Settings,
) -> Iterator[None]:
    """Run Prometheus and Alertmanager, if they are asked for, and print where they answer."""
    if not programs:
        yield
        return
    from ader_stream.demo.monitoring import running_monitoring  # noqa: PLC0415

    prefix = settings.kafka.prefix
    with running_monitoring(programs, addresses, out, guard, workers.addresses, prefix):
        page = {"monitor": workers.addresses["monitor"]}
        for name, address in {**page, **addresses}.items():
            click.echo(f"{name}: http://{address}/")
        yield


def _say_where(kafka: LocalKafka, settings: Settings, out: Path) -> None:
    click.echo(
        f"Apache Kafka {kafka.version} ({kafka.source}) at {kafka.bootstrap_servers}; "
        f"topics {settings.kafka.prefix}.*; logs in {out}"
    )


def _leave_running(workers: Workers, settings: Settings) -> None:
    """Print what to try, and return when the user presses Ctrl-C."""
    registry = read_registry(settings.clients, settings.topics, settings.trust)
    kafka, served = settings.kafka, registry.roles.served
    items = registry.manifests[served].frequent_items if served else ()
    running = Running(
        kafka.bootstrap_servers, settings.topics, kafka.prefix, workers.addresses, items
    )
    click.echo("\n".join(["", *what_to_try(running)]))
    try:
        workers.wait()
    except KeyboardInterrupt:
        click.echo("\nstopping")


def _choose(
    dataset: Path | None, table: TableLayout, settings: Settings
) -> tuple[Dataset, Mapping[str, Mapping[str, str]]]:
    """Return the clicks, and settings of the workers that match them."""
    rule, gap = settings.block_rule, settings.sessions.gap
    if dataset:
        return open_dataset(dataset, rule, gap, table), {}
    # The user's settings of the trainer take precedence.
    overrides = SHOP_OVERRIDES | settings.trainer.overrides
    return SimulatedShop(rule, gap), {"trainer": {"overrides": json.dumps(overrides)}}


def _describe(clicks: Dataset) -> str:
    return f"{clicks.name} (simulated clicks)" if clicks.simulated else clicks.name


@contextmanager
def _kafka(settings: Settings, out: Path, guard: Guard) -> Iterator[LocalKafka]:
    """Yield the given Kafka, or a local one for as long as the demo runs."""
    given = "bootstrap_servers" in settings.kafka.model_fields_set
    kafka = start_kafka(
        out / "kafka",
        image=kafka_image(),
        cache=user_cache_path("ader-stream"),
        address=settings.kafka.bootstrap_servers if given else None,
        guard=guard,
        temporary=True,
    )
    try:
        yield kafka
    finally:
        stop_kafka(kafka)


def _settings_for(settings: Settings, kafka: LocalKafka) -> Settings:
    """Return settings with this Kafka's address; on a given cluster, with topics of this run."""
    prefix = settings.kafka.prefix
    if kafka.source == "given":
        prefix = f"{prefix}-demo-{time.strftime('%Y%m%d-%H%M%S')}"
    address = {"bootstrap_servers": kafka.bootstrap_servers, "prefix": prefix}
    return load_settings(kafka=address)


@contextmanager
def _terminated_like_interrupted() -> Iterator[None]:
    """Handle SIGTERM like Ctrl-C: stop all started processes."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _write(report: DemoReport, clicks: Dataset, out: Path) -> None:
    from ader_stream.demo.page import write_report  # noqa: PLC0415 - matplotlib, only at the end

    write_report(report, published_results(clicks.fingerprint), out)


def _summarise(report: DemoReport, out: Path, seconds: float) -> None:
    recall, mrr = report.mean("recall@20"), report.mean("mrr@20")
    click.echo()
    if recall is not None and mrr is not None:
        click.echo(f"mean prequential Recall@20 {recall:.2f} %, MRR@20 {mrr:.2f} %")
    click.echo(f"{out / 'report.html'} after {seconds:.0f} s")
