"""``demo --keep``: everything is left running, and each line that it prints works as printed."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ader_stream.demo.trying import PROMPT
from ader_stream.observability.rules_file import GROUPS
from tests.integration.promtool import objections
from tests.integration.simulated import simulated_clicks
from tests.integration.system import WAIT_SECONDS, Kafka, System

BLOCKS = 2


@dataclass
class KeptDemo:
    """A demo that waits for Ctrl-C, and what it has printed."""

    process: subprocess.Popen[str]
    lines: list[str]

    @property
    def commands(self) -> list[str]:
        """What it says to try."""
        return [line.removeprefix(PROMPT) for line in self.lines if line.startswith(PROMPT)]

    def command(self, part: str) -> str:
        """The command with this text in it."""
        [found] = [command for command in self.commands if part in command]
        return found

    @property
    def addresses(self) -> list[str]:
        """Where the workers show their metrics."""
        return [line.split()[1] for line in self.lines if line.endswith("/metrics")]


def heed_ctrl_c() -> None:
    """Undo what a shell does to programs that it starts in the background: they ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kept-demo")


@pytest.fixture(scope="module")
def demo(kafka: Kafka, folder: Path) -> Iterator[KeptDemo]:
    system = System(kafka.bootstrap_servers, folder)
    dataset = folder / "SHOP"
    dataset.mkdir()
    for number, clicks in enumerate(simulated_clicks(system.settings.block_rule, BLOCKS)):
        text = "".join(f"{click.key}/{click.time // 10**7} {click.item}\n" for click in clicks)
        (dataset / f"period_{number}.txt").write_text(text)
    options = ["--keep", "--with-monitoring"]
    arguments = ["demo", *options, "--dataset", dataset, "--out", folder / "out"]
    process = subprocess.Popen(
        [sys.executable, "-m", "ader_stream.cli.main", *map(str, arguments)],
        env=system.environment({}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=heed_ctrl_c,  # noqa: PLW1509 (no threads here)
    )
    try:
        yield KeptDemo(process, lines_until_kept(process))
    finally:
        process.terminate()
        process.communicate(timeout=WAIT_SECONDS)


def lines_until_kept(process: subprocess.Popen[str]) -> list[str]:
    """Read what the demo prints, to the last line that it has to say."""
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line.rstrip("\n"))
        if "watermark show" in line:
            return lines
    raise AssertionError("\n".join(["the demo has ended:", *lines]))


def answer(command: str) -> str:
    """Run a printed line as a user does, in a shell."""
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=False, timeout=WAIT_SECONDS
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_every_printed_command_works(demo: KeptDemo) -> None:
    assert len(demo.commands) == 4
    assert all(answer(command).strip() for command in demo.commands)


def test_it_names_its_topics_on_a_cluster_of_somebody_else(demo: KeptDemo, kafka: Kafka) -> None:
    prefix = r"test-[0-9a-f]{12}-demo-\d{8}-\d{6}"
    printed = "\n".join(demo.lines)
    assert re.search(rf"^Kafka: {kafka.bootstrap_servers}, topics {prefix}\.\*$", printed, re.M)
    assert re.search(rf"topics {prefix}\.\*; logs in ", printed)


def test_the_request_is_answered_by_the_newest_version(demo: KeptDemo) -> None:
    body = json.loads(answer(demo.command("/recommend")))
    assert (body["version"], body["fallback"], len(body["items"])) == (BLOCKS, False, 5)


def test_the_versions_are_listed(demo: KeptDemo) -> None:
    lines = answer(demo.command("models list")).splitlines()
    assert [line.split()[0] for line in lines] == ["version", "1", "2"]


def test_the_sessions_are_those_of_the_data_set(demo: KeptDemo, folder: Path) -> None:
    printed = answer(demo.command("sessions dump"))
    keys = set(re.findall(r"key=(\S+)", printed))
    files = (folder / "SHOP").glob("period_*.txt")
    assert keys == {line.split()[0] for file in files for line in file.read_text().splitlines()}


def test_every_worker_shows_its_metrics(demo: KeptDemo) -> None:
    assert len(demo.addresses) == 4
    for address in demo.addresses:
        with urllib.request.urlopen(address, timeout=10) as response:
            shown = response.read()
        assert b"ader_build_info{" in shown
        assert b"ader_settings_info{" in shown
        assert objections("metrics", text=shown) == ""


def asked(demo: KeptDemo, program: str, path: str) -> dict[str, Any]:
    """What a program of the monitoring answers."""
    named = (line.split()[1] for line in demo.lines if line.startswith(f"{program}: "))
    [address] = [address for address in named if address.endswith("/")]
    with urllib.request.urlopen(f"{address}{path}", timeout=10) as response:
        return dict(json.load(response))


def test_prometheus_reads_every_worker_and_knows_the_rules_and_alertmanager(demo: KeptDemo) -> None:
    until = time.monotonic() + WAIT_SECONDS
    while True:
        targets = asked(demo, "prometheus", "api/v1/targets")["data"]["activeTargets"]
        health = {target["labels"]["worker"]: target["health"] for target in targets}
        if set(health.values()) == {"up"} or time.monotonic() > until:
            break
        time.sleep(0.5)
    assert health == dict.fromkeys(["sessionizer", "trainer", "inference", "monitor"], "up")
    groups = asked(demo, "prometheus", "api/v1/rules")["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert len(rules) == sum(len(group.rules) for group in GROUPS)
    assert {rule["health"] for rule in rules} <= {"ok", "unknown"}
    managers = asked(demo, "prometheus", "api/v1/alertmanagers")["data"]["activeAlertmanagers"]
    assert len(managers) == 1
    assert asked(demo, "alertmanager", "api/v2/status")["cluster"]["status"] == "disabled"


def test_the_monitor_shows_the_run(demo: KeptDemo) -> None:
    status = asked(demo, "monitor", "status")
    assert [block["block"] for block in status["blocks"] if block["is_complete"]]
    assert status["versions"]["served"] == BLOCKS


def test_the_page_asks_the_demos_prometheus_for_its_alerts(demo: KeptDemo) -> None:
    found = asked(demo, "monitor", "alerts")
    assert (found["reason"], isinstance(found["alerts"], list)) == ("", True)


def test_the_report_is_there_before_the_end(demo: KeptDemo, folder: Path) -> None:
    assert demo.process.poll() is None
    assert len(json.loads((folder / "out" / "report.json").read_text())["blocks"]) == BLOCKS


def test_ctrl_c_stops_everything(demo: KeptDemo) -> None:
    demo.process.send_signal(signal.SIGINT)
    assert demo.process.wait(WAIT_SECONDS) == 0
    for address in demo.addresses:
        with pytest.raises(urllib.error.URLError):
            urllib.request.urlopen(address, timeout=10)
