"""What a click costs the sessionizer: CPU time of the process, beside a bare consume loop.

Run it with ``python -m tests.benchmarks.sessionizer [--parts speed,quix,latency]``. It starts a
Kafka of its own, writes Avro clicks of visitors that come and go, and reads them in processes of
their own: with nothing but ``consume(n)``; with a record written for each click besides; with the
sessionizer as it is deployed (decoding, sessions, changelog, transactions); with Quix Streams'
session windows. Costs are in CPU seconds (every thread of the process, librdkafka's too), because
other work on the machine does not count there; each is the best of the rounds, taken in turn. What
was measured goes to ``results/speed/sessionizer.json``, and from there into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import uuid
import venv
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from platformdirs import user_cache_path

from ader_stream.local_kafka import Guard, start_kafka, stop_kafka
from ader_stream.local_kafka.ports import free_port
from ader_stream.runtime.resources import resource
from tests.benchmarks.page_table import PageTable
from tests.benchmarks.session_clicks import write_clicks
from tests.benchmarks.session_latency import measure_latency

RESULTS = Path(__file__).parent / "results" / "speed" / "sessionizer.json"
TABLE = PageTable("benchmark", "sessionizer")

CASES = [
    (1, 2_000, 100_000, 400_000),
    (8, 2_000, 100_000, 400_000),
    (1, 1_000_000, 1_050_000, 2_050_000),
    (8, 1_000_000, 1_050_000, 2_050_000),
]
"""Partitions, visitors at a time, clicks until all of them have come and others leave, clicks in
all. A session stays open for half an hour after its last click: a million of them or more. One
that is behind commits every 280,000 clicks or so, and among a million sessions nearly
each of them is a record: what is measured has to be several times that, for the first commit writes
what came before."""

QUIX = "3.28.1"
QUIX_CLICKS = {"partition": (27_000, 27_500), "key": (27_000, 60_000)}
"""Closing strategy → clicks to warm up, until the first sessions have closed, and clicks in all.
Before that, `partition` came to 12,905 clicks per CPU second, and to 60 from there on."""

Row = dict[str, Any]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--parts", default="speed,quix,latency")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--cases", type=int, nargs="*", default=range(len(CASES)))
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder, Guard() as guard:
        data = Path(folder)
        kafka = start_kafka(
            data, image="", cache=user_cache_path("ader-stream"), port=free_port(), guard=guard
        )
        try:
            measure(kafka.bootstrap_servers, chosen)
        finally:
            stop_kafka(kafka)
    TABLE.write(markdown_table(json.loads(RESULTS.read_text("utf-8"))))


def measure(address: str, chosen: argparse.Namespace) -> None:
    """Measure the parts that were chosen; those measured before stay."""
    result = json.loads(RESULTS.read_text("utf-8")) if RESULTS.exists() else {}
    result |= {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "versions": {name: version(name) for name in ("confluent-kafka", "fastavro", "numpy")},
    }
    parts = chosen.parts.split(",")
    if "speed" in parts:
        rows = {(row["partitions"], row["visitors"]): row for row in result.get("rows", ())}
        for number in chosen.cases:
            row = measure_speed(address, *CASES[number], chosen.rounds)
            rows[row["partitions"], row["visitors"]] = row
            save(result | {"rows": [rows[at] for at in sorted(rows, key=lambda r: r[::-1])]})
    if "quix" in parts:
        result = json.loads(RESULTS.read_text("utf-8"))
        save(result | {"quix": measure_quix(address, chosen.rounds)})
    if "latency" in parts:
        result = json.loads(RESULTS.read_text("utf-8"))
        save(result | {"latency": [measure_latency(address, p, 20.0) for p in (1, 8)]})


def save(result: Row) -> None:
    RESULTS.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def measure_speed(
    address: str, partitions: int, visitors: int, warm_up: int, clicks: int, rounds: int
) -> Row:
    """Write clicks once, and read them in all ways; then restore what was left open."""
    topic = write_clicks(address, partitions, visitors, clicks)
    best: dict[str, float] = {}
    for _ in range(rounds):
        prefix = f"bench-{uuid.uuid4().hex[:8]}"
        for way in ("consume", "write", "sessionize"):
            found = in_a_process(way, address, topic, f"{prefix}-{way}", partitions, warm_up)
            rate = found["clicks_per_cpu_second"]
            best[way] = max(rate, best.get(way, rate))
    restored = in_a_process("restore", address, topic, f"{prefix}-sessionize", partitions, 0)
    row = {
        "partitions": partitions,
        "visitors": visitors,
        **{f"{way}_clicks_per_cpu_second": round(rate) for way, rate in best.items()},
        "share_of_consume": round(best["sessionize"] / best["consume"], 3),
        "open_sessions": restored["open_sessions"],
        "bytes_an_open_session": round(restored["bytes_an_open_session"]),
        "restore_seconds": round(restored["restore_seconds"], 2),
        "restore_cpu_seconds": round(restored["restore_cpu_seconds"], 2),
    }
    print(row, flush=True)
    return row


def measure_quix(address: str, rounds: int) -> Row:
    """Clicks per CPU second of both closing strategies, and of ours on the same topic."""
    python = quix_python()
    topic = write_clicks(address, 1, 2_000, 400_000)
    schema = resource("schemas", "Click.avsc")
    script = Path(__file__).with_name("quix_sessions.py")
    best: dict[str, float] = {}
    for _ in range(rounds):
        ours = in_a_process(
            "sessionize", address, topic, f"bench-{uuid.uuid4().hex[:8]}", 1, 100_000
        )
        found = {"ours": ours["clicks_per_cpu_second"]}
        for strategy, (warm_up, clicks) in QUIX_CLICKS.items():
            with tempfile.TemporaryDirectory() as folder:
                command = [python, script, address, topic, strategy, clicks, warm_up, folder]
                found[strategy] = json.loads(output_of([*map(str, command), str(schema)]))
        best = {name: max(rate, best.get(name, rate)) for name, rate in found.items()}
    row = {"version": QUIX, "visitors": 2_000, **{name: round(r) for name, r in best.items()}}
    print(row, flush=True)
    return row


def quix_python() -> Path:
    """The Python of an environment that has Quix Streams and nothing of ours; made once."""
    folder = user_cache_path("ader-stream") / f"quix-{QUIX}"
    python = folder / "bin" / "python"
    if not (folder / "made").exists():
        venv.create(folder, with_pip=True, clear=True)
        pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
        subprocess.run([*pip, f"quixstreams=={QUIX}"], check=True)
        (folder / "made").touch()
    return python


def in_a_process(
    way: str, address: str, topic: str, prefix: str, partitions: int, warm_up: int
) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.benchmarks.sessionizer_process"]
    arguments = [way, address, topic, prefix, str(partitions), str(warm_up)]
    found: dict[str, float] = json.loads(output_of([*command, *arguments]))
    print(way, found, flush=True)
    return found


def output_of(command: list[str]) -> str:
    """The last line that a process prints."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.splitlines()[-1]


def markdown_table(result: Row) -> str:
    """Return the results as docs/benchmarks.md shows them."""
    lines = [
        "| partitions | open sessions | clicks per CPU second | bare `consume` | share "
        "| `consume`, and a record for each click | bytes an open session | restored in |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in result["rows"]:
        cells = (
            row["partitions"],
            f"{row['open_sessions']:,}",
            f"{row['sessionize_clicks_per_cpu_second']:,}",
            f"{row['consume_clicks_per_cpu_second']:,}",
            f"{row['share_of_consume']:.0%}",
            f"{row['write_clicks_per_cpu_second']:,}",
            *of_many(row),
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    lines += ["", f"Avro clicks, {result['machine']}, {versions}, {result['date']}."]
    if quix := result.get("quix"):
        ratios = [f"`{s}` {quix[s]:,} ({quix['ours'] / quix[s]:.0f} times)" for s in QUIX_CLICKS]
        lines.append(
            "In the same run, on the same clicks of 2,000 visitors, where sessions have begun to "
            f"close, clicks per CPU second: ours {quix['ours']:,}; Quix Streams "
            f"{quix['version']}, `session_window`, closing strategy "
            f"{' and '.join(ratios)}."
        )
    for row in result.get("latency", ()):
        lines.append(
            f"From the click that closes a session to a `read_committed` reader, "
            f"{row['rate']:,} clicks a second, {row['partitions']} partitions: "
            f"median {row['p50_ms']:.0f} ms, 99th percentile {row['p99_ms']:.0f} ms."
        )
    return "\n".join(lines) + "\n"


def of_many(row: Row) -> tuple[str, str]:
    """Bytes and seconds, where the open sessions are so many that nothing else counts."""
    if row["open_sessions"] < 100_000:
        return "", ""
    return f"{row['bytes_an_open_session']:,}", f"{row['restore_seconds']:.1f} s"


if __name__ == "__main__":
    main()
