from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ader_stream.demo import workers
from ader_stream.demo.workers import NAMES, Workers
from ader_stream.errors import DemoError


def test_workers_take_the_times_of_a_data_set_that_was_checked_already(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[dict[str, str]] = []

    def start(command: list[str], log: Path, guard: Any, environment: dict[str, str]) -> Any:
        started.append(environment)
        return SimpleNamespace()

    monkeypatch.setattr(workers, "start_process", start)
    Workers(tmp_path, None, {"clicks": {"format": "avro"}, "kafka": {"prefix": "demo"}})  # type: ignore[arg-type]
    assert len(started) == len(NAMES)
    for environment in started:
        assert environment["ADER_CLICKS_CHECK_TIMES"] == "false"
        assert environment["ADER_CLICKS_FORMAT"] == "avro"
        assert environment["ADER_SESSIONIZER_IDLE_TIMEOUT"] == "off"
        assert environment["ADER_KAFKA_PREFIX"] == "demo"


def test_a_kept_demo_ends_with_the_log_of_a_worker_that_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(command: list[str], log: Path, guard: Any, environment: dict[str, str]) -> Any:
        log.write_text("no room on the disk\n")
        return SimpleNamespace(poll=lambda: 1 if log.stem == "trainer" else None)

    monkeypatch.setattr(workers, "start_process", start)
    kept = Workers(tmp_path, None, {})  # type: ignore[arg-type]
    with pytest.raises(DemoError, match=r"trainer ended with exit code 1; .*\nno room on the disk"):
        kept.wait()
