"""Commands that a user can try while the demo continues to run.

A test runs each command as it is printed.
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
"""Number of items in the example request: the most clicked ones."""

PROMPT = "  $ "


@dataclass(frozen=True, slots=True)
class Running:
    """A demo with running processes.

    Parameters
    ----------
    bootstrap_servers
        Address of the cluster.
    topics, prefix
        Names of the topics of this run, and their common prefix.
    workers
        Name of a worker → host:port at which it answers HTTP.
    items
        Items of the served version, the most clicked ones first.
    """

    bootstrap_servers: str
    topics: Topics
    prefix: str
    workers: Mapping[str, str]
    items: Sequence[str]


def what_to_try(running: Running) -> Iterator[str]:
    """Yield the lines with the addresses, and the commands to try."""
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
        "the watermark of each partition",
        shlex.join([*_program(), "watermark", "show", *cluster]),
    )


def _program() -> list[str]:
    """Return the command that runs this program in another terminal."""
    started = Path(sys.argv[0]).absolute()
    if started.name != PROGRAM:
        return [sys.executable, "-m", "ader_stream.cli.main"]
    found = shutil.which(PROGRAM)
    return [PROGRAM if found and Path(found) == started else str(started)]
