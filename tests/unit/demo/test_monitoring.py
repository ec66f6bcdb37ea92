"""Prometheus and Alertmanager beside the demo."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ader_stream.demo import monitoring
from ader_stream.demo.monitoring import (
    _wait_until_ready,
    find_programs,
    prometheus_configuration,
)
from ader_stream.errors import DemoError
from ader_stream.observability.rule import Links
from ader_stream.observability.rules_file import rules_yaml

WORKERS = {"sessionizer": "127.0.0.1:1", "monitor": "127.0.0.1:2"}


def test_prometheus_accepts_the_configuration(tmp_path: Path) -> None:
    configuration = prometheus_configuration(WORKERS, "ader", "127.0.0.1:9093")
    (tmp_path / "ader-stream.rules.yml").write_text(rules_yaml(Links()))
    path = tmp_path / "prometheus.yml"
    path.write_text(json.dumps(configuration))
    checked = subprocess.run(
        ["promtool", "check", "config", path], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "rules found" in checked.stdout


def test_a_program_that_is_missing_is_named_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        DemoError, match=r"prometheus and alertmanager not found on the PATH; .*apt"
    ):
        find_programs()
    program = tmp_path / "prometheus-alertmanager"
    program.write_text("")
    program.chmod(0o755)
    with pytest.raises(DemoError, match="--with-monitoring: prometheus not found"):
        find_programs()


def test_a_program_that_ends_shows_the_end_of_its_log(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(monitoring, "_is_ready", lambda _: False)
    log = tmp_path / "prometheus.log"
    log.write_text("the port is taken\n")
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
        with pytest.raises(DemoError, match=r"does not answer at 127.0.0.1:1; .*\nthe port"):
            _wait_until_ready("prometheus", process, "127.0.0.1:1", log)
