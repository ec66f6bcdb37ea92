"""What a user can try while the demo is left running: addresses, and commands that work as printed.

Each command is run as it is printed by a test.
"""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ader_stream.stream.topics.topics import Topics

PROGRAM = "ader-stream"
SHOWN_ITEMS = 2
"""Items of the session in the request: the most clicked ones."""

PROMPT = "  $ "


@dataclass(frozen=True, slots=True)
class Running:
    """A demo whose processes run.

    Parameters
    ----------
    bootstrap_servers
        Address of the cluster.
    topics, prefix
        Names of the topics of this run, and how they start.
    workers
        Name of a worker → host:port at which it answers HTTP.
    items
        That the served version knows, the most clicked ones first.
    """

    bootstrap_servers: str
    topics: Topics
    prefix: str
    workers: Mapping[str, str]
    items: Sequence[str]


def what_to_try(running: Running) -> Iterator[str]:
    """Yield the lines that say where everything is, and what can be asked of it."""
    yield "everything is left running until Ctrl-C"
    yield f"Kafka: {running.bootstrap_servers}, topics {running.prefix}.*"
    for name, address in running.workers.items():
        yield f"{name}: http://{address}/metrics"
    yield "try, in another terminal:"
    for purpose, command in _commands(running):
        yield f"  # {purpose}"
        yield f"{PROMPT}{command}"


def _commands(running: Running) -> Iterator[tuple[str, str]]:
    inference = f"http://{running.workers['inference']}"
    session = json.dumps({"items": running.items[:SHOWN_ITEMS], "k": 5}, ensure_ascii=False)
    curl = ("curl", "--silent", "--show-error", "--fail-with-body")
    cluster = ("--bootstrap-servers", running.bootstrap_servers, "--prefix", running.prefix)
    yield (
        "what comes next in a session of these items",
        shlex.join([*curl, f"{inference}/recommend", "--data", session]),
    )
    yield "versions, and which one serves", shlex.join([*_program(), "models", "list", *cluster])
    yield (
        f"the closed sessions in the topic {running.topics.sessions}",
        shlex.join([*_program(), "sessions", "dump", *cluster]),
    )
    yield (
        "how far event time has come on each partition",
        shlex.join([*_program(), "watermark", "show", *cluster]),
    )


def _program() -> list[str]:
    """Return how another terminal runs the program that runs here."""
    started = Path(sys.argv[0]).absolute()
    if started.name != PROGRAM:
        return [sys.executable, "-m", "ader_stream.cli.main"]
    found = shutil.which(PROGRAM)
    return [PROGRAM if found and Path(found) == started else str(started)]
