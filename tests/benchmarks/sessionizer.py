"""What a click costs the sessionizer: CPU time of the process, beside a bare consume loop.

Run it with ``python -m tests.benchmarks.sessionizer [--clicks N] [--rounds N]``. It starts a Kafka
of its own, writes Avro clicks of visitors that come and go, and reads them twice in processes of
their own: with nothing but ``consume(n)``, and with the sessionizer as it is deployed: decoding,
sessions, changelog, transactions. Each figure is the best of the rounds, taken in turn, in CPU
seconds (every thread of the process, librdkafka's too), because other work on the machine does not
count there. The results go to ``results/speed/sessionizer.json``, and from there into the README.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from confluent_kafka import TopicPartition
from platformdirs import user_cache_path
from prometheus_client import CollectorRegistry

from ader_stream.local_kafka import Guard, start_kafka, stop_kafka
from ader_stream.local_kafka.ports import free_port
from ader_stream.metrics import CLICKS, Metrics
from ader_stream.settings import Settings, load_settings
from ader_stream.stream.clicks.decoder import ClickDecoder, encode_click
from ader_stream.stream.kafka.changelog import offset_range
from ader_stream.stream.kafka.clients import READ_MESSAGES
from ader_stream.stream.kafka.exactly_once import ExactlyOnceLoop, LoopConfig
from ader_stream.stream.kafka.topics import create_topics
from ader_stream.stream.sessions.intake import Intake
from ader_stream.stream.sessions.sessionizing import SessionizerRules, SessionizerTask
from ader_stream.stream.sessions.window import SessionWindow
from ader_stream.types import MINUTE_MS, Click
from consumers.sessionizer import look_for_cycles_less_often

RESULTS = Path(__file__).parent / "results" / "speed" / "sessionizer.json"
README = Path(__file__).parents[2] / "README.md"
BEGIN, END = "<!-- benchmark: sessionizer -->\n", "<!-- /benchmark -->\n"
CASES = [(1, 2_000), (8, 2_000), (1, 100_000)]
"""Partitions, and visitors at one time."""

SESSION_CLICKS = 5
"""Clicks of a visit on average, as in the data sets of the paper."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--clicks", type=int, default=400_000)
    arguments.add_argument("--rounds", type=int, default=3)
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder, Guard() as guard:
        data = Path(folder)
        kafka = start_kafka(
            data, image="", cache=user_cache_path("ader-stream"), port=free_port(), guard=guard
        )
        try:
            rows = [
                measure(kafka.bootstrap_servers, partitions, visitors, chosen)
                for partitions, visitors in CASES
            ]
        finally:
            stop_kafka(kafka)
    costs = [window_cost(chosen.clicks) for _ in range(chosen.rounds)]
    result = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "versions": {name: version(name) for name in ("confluent-kafka", "fastavro")},
        "clicks": chosen.clicks,
        "window_us_a_click": round(min(costs), 2),
        "rows": rows,
    }
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    write_table(result)


def clicks_of(visitors: int, count: int) -> Iterator[Click]:
    """Visitors who click in random order, and one by one make room for others."""
    rng = random.Random(visitors)
    names, born = [f"visitor-{n}" for n in range(visitors)], visitors
    step = 5 * MINUTE_MS / visitors  # each clicks every five minutes on average
    for number in range(count):
        who = rng.randrange(visitors)
        yield Click(names[who], f"item-{rng.randrange(50_000)}", int(1.7e12 + number * step))
        if rng.random() < 1 / SESSION_CLICKS:
            names[who], born = f"visitor-{born}", born + 1


def window_cost(count: int) -> float:
    """Of the pure functions alone: intake, sessions, closing; µs a click."""
    settings = load_settings()
    window = SessionWindow(settings.block_rule, settings.session_rule)
    intake = Intake(window, settings.intake_rule, settings.sessions.lateness)
    clicks = list(clicks_of(2_000, count))
    look_for_cycles_less_often()
    started = time.process_time()
    for offset, click in enumerate(clicks):
        intake.observe(click, offset)
    return (time.process_time() - started) / count * 1e6


def measure(
    address: str, partitions: int, visitors: int, chosen: argparse.Namespace
) -> dict[str, Any]:
    """Write the clicks once, and read them in both ways."""
    topic = f"bench-{uuid.uuid4().hex[:8]}.clicks"
    settings = settings_of(address, topic, "unused")
    create_topics(settings.clients.admin(), settings.topics, partitions)
    producer = settings.clients.producer(partitioner="murmur2_random", linger_ms=50)
    for number, click in enumerate(clicks_of(visitors, chosen.clicks)):
        producer.produce(topic, encode_click(click, settings.click_format), click.key)
        if number % 1_000 == 0:
            producer.poll(0)
    producer.flush(60)
    best: dict[str, float] = {}
    for _ in range(chosen.rounds):
        for way in ("consume", "sessionizer"):
            seconds = in_a_process(way, address, topic, partitions)
            best[way] = min(seconds, best.get(way, seconds))
    row = {
        "partitions": partitions,
        "visitors": visitors,
        **{f"{way}_clicks_per_cpu_second": round(chosen.clicks / best[way]) for way in best},
        "share_of_consume": round(best["consume"] / best["sessionizer"], 3),
    }
    print(row, flush=True)
    return row


def in_a_process(way: str, address: str, topic: str, partitions: int) -> float:
    """CPU seconds of a process that reads the topic to its end."""
    command = [sys.executable, "-m", "tests.benchmarks.sessionizer_process"]
    done = subprocess.run(
        [*command, way, address, topic, str(partitions)],
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout.splitlines()[-1])


def settings_of(address: str, topic: str, prefix: str) -> Settings:
    return load_settings(
        kafka={"bootstrap_servers": address, "prefix": prefix},
        clicks={"topic": topic, "format": "avro"},
        sessionizer={"idle": "off"},
    )


def read(way: str, address: str, topic: str, partitions: int) -> float:
    """Read the topic to its end in this process, and return the CPU seconds that took."""
    settings = settings_of(address, topic, f"bench-{uuid.uuid4().hex[:8]}")
    ends = {p: offset_range(settings.clients, topic, p)[1] for p in range(partitions)}
    return (consume if way == "consume" else sessionize)(settings, ends)


def consume(settings: Settings, ends: dict[int, int]) -> float:
    reader = settings.clients.group_consumer(settings.topics.group("bare"))
    reader.assign([TopicPartition(settings.topics.clicks, p, 0) for p in ends])
    left, started = sum(ends.values()), time.process_time()
    while left:
        left -= sum(message.error() is None for message in reader.consume(READ_MESSAGES, 0.1))
    return time.process_time() - started


def sessionize(settings: Settings, ends: dict[int, int]) -> float:
    create_topics(settings.clients.admin(), settings.topics, len(ends))
    look_for_cycles_less_often()
    decoder, metrics = ClickDecoder(settings.click_format), Metrics(CollectorRegistry())
    rules = SessionizerRules(settings.block_rule, settings.session_rule, settings.intake_rule)
    loop = ExactlyOnceLoop(
        settings.clients,
        LoopConfig(settings.topics.clicks, settings.topics.group("sessionizer")),
        lambda p: SessionizerTask(p, settings.clients, settings.topics, decoder, rules, metrics),
        lambda _partition, _lag: None,
        decoder.check_readable,
    )
    clicks, started = metrics[CLICKS], time.process_time()

    def has_read_all() -> bool:
        read = [clicks.labels(partition=partition)._value.get() for partition in ends]
        return sum(read) == sum(ends.values())

    loop.run(has_read_all, lambda: None)
    return time.process_time() - started


def markdown_table(result: dict[str, Any]) -> str:
    """The results as the README shows them."""
    lines = [
        "| partitions | visitors at a time | clicks per CPU second | bare `consume` | share |",
        "|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        cells = (
            row["partitions"],
            f"{row['visitors']:,}",
            f"{row['sessionizer_clicks_per_cpu_second']:,}",
            f"{row['consume_clicks_per_cpu_second']:,}",
            f"{row['share_of_consume']:.0%}",
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    lines.append("")
    lines.append(
        f"{result['clicks']:,} Avro clicks, {result['machine']}, "
        + ", ".join(f"{name} {number}" for name, number in result["versions"].items())
        + f", {result['date']}. The pure window alone: {result['window_us_a_click']} µs a click."
    )
    return "\n".join(lines) + "\n"


def write_table(result: dict[str, Any]) -> None:
    """Put the results between the marks in the README."""
    head, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
    _, _, tail = rest.partition(END)
    README.write_text(head + BEGIN + markdown_table(result) + END + tail, encoding="utf-8")


if __name__ == "__main__":
    main()
