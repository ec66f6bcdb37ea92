from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import pytest

from ader_stream.demo.trying import PROMPT, Running, what_to_try
from ader_stream.stream.topics.topics import Topics

WORKERS = {name: f"127.0.0.1:{port}" for port, name in enumerate(("sessionizer", "inference"), 1)}


def commands(items: list[str]) -> list[list[str]]:
    """The printed commands as a shell reads them."""
    running = Running("broker:9092", Topics("shop"), "shop", WORKERS, items)
    lines = [line for line in what_to_try(running) if line.startswith(PROMPT)]
    return [shlex.split(line.removeprefix(PROMPT)) for line in lines]


def test_an_item_reaches_the_worker_whatever_is_in_its_name() -> None:
    items = ['12" pizza', "l'été & $HOME; `rm`", "never shown"]
    [curl, *_] = commands(items)
    assert "http://127.0.0.1:2/recommend" in curl
    assert json.loads(curl[-1])["items"] == items[:2]


@pytest.mark.parametrize("is_on_the_path", [True, False])
def test_commands_name_the_program_that_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, is_on_the_path: bool
) -> None:
    program = tmp_path / "ader-stream"
    program.touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path) if is_on_the_path else "")
    monkeypatch.setattr(sys, "argv", [str(program), "demo", "--keep"])
    started = "ader-stream" if is_on_the_path else str(program)
    cluster = ["--bootstrap-servers", "broker:9092", "--prefix", "shop"]
    assert [started, "models", "list", *cluster] in commands(["hat"])


def test_commands_name_the_module_where_that_was_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["ader_stream/cli/main.py", "demo", "--keep"])
    [_, models, *_] = commands(["hat"])
    assert models[:5] == [sys.executable, "-m", "ader_stream.cli.main", "models", "list"]
