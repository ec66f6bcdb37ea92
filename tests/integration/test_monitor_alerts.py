"""The alerts that the live page shows, asked of a real Prometheus."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from ader_stream.local_kafka.ports import free_port
from ader_stream.monitor.page.alerts import FIRING, PENDING, RESOLVED, Prometheus, ShownAlert

RULES = {
    "groups": [
        {
            "name": "ader-test",
            "interval": "1s",
            "rules": [
                {
                    "alert": "AderFires",
                    "expr": 'label_replace(vector(1), "prefix", "shop", "", "")',
                    "labels": {"severity": "page"},
                    "annotations": {"summary": "partition 3", "runbook_url": "http://book/#fires"},
                },
                {
                    "alert": "AderWaits",
                    "expr": 'label_replace(vector(1), "prefix", "shop", "", "")',
                    "for": "1h",
                    "labels": {"severity": "ticket", "worker": "trainer"},
                },
                {"alert": "AderResolved", "expr": "vector(1) > 2"},
                {
                    "alert": "AderFires",
                    "expr": 'label_replace(vector(1), "prefix", "other", "", "")',
                },
                {"alert": "NotOurs", "expr": 'label_replace(vector(1), "prefix", "shop", "", "")'},
            ],
        }
    ]
}


@pytest.fixture(scope="module")
def fired_at() -> int:
    return int(time.time()) - 3 * 3600


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, fired_at: int) -> Iterator[str]:
    """Prometheus with three alerts of the system `shop`, one of which has fired three hours ago."""
    folder = tmp_path_factory.mktemp("prometheus")
    write_past(folder, fired_at)
    (folder / "rules.yml").write_text(json.dumps(RULES))
    (folder / "prometheus.yml").write_text(json.dumps({"rule_files": ["rules.yml"]}))
    url = f"http://127.0.0.1:{free_port()}"
    with (folder / "log").open("wb") as log:
        program = [
            shutil.which("prometheus") or "prometheus",
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address={url.removeprefix('http://')}",
        ]
        process = subprocess.Popen(program, stdout=log, stderr=log)
        try:
            yield url
        finally:
            process.terminate()
            process.wait(20)


def write_past(folder: Path, fired_at: int) -> None:
    """Write that AderResolved fired for a minute."""
    series = 'ALERTS{alertname="AderResolved",alertstate="firing",prefix="shop",partition="4"}'
    samples = [f"{series} 1 {second}" for second in range(fired_at - 60, fired_at + 1, 15)]
    text = "\n".join(["# TYPE ALERTS gauge", *samples, "# EOF", ""])
    (folder / "past.txt").write_text(text)
    command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "past.txt", "data"]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)


def is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/-/ready", timeout=1) as answer:
            return answer.status == 200
    except OSError:
        return False


def alerts_of(url: str, prefix: str) -> list[ShownAlert]:
    """Return the alerts as soon as the rules were evaluated."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        found = Prometheus(url, prefix).alerts() if is_ready(url) else []
        if any(alert.state == FIRING for alert in found):
            return found
        time.sleep(0.2)
    raise AssertionError("no alert fires")


def test_firing_pending_and_resolved_alerts_of_the_system_are_shown_in_this_order(
    address: str, fired_at: int
) -> None:
    fires, waits, resolved = alerts_of(address, "shop")
    assert (fires.name, fires.state, fires.severity) == ("AderFires", FIRING, "page")
    assert (fires.summary, fires.runbook) == ("partition 3", "http://book/#fires")
    assert (waits.name, waits.state, waits.labels) == ("AderWaits", PENDING, {"worker": "trainer"})
    assert (resolved.name, resolved.state, resolved.labels) == (
        "AderResolved",
        RESOLVED,
        {"partition": "4"},
    )
    assert abs(resolved.since - fired_at) <= 300  # a sample counts for five minutes


def test_alerts_of_another_system_are_its_own(address: str) -> None:
    [other] = alerts_of(address, "other")
    assert (other.name, other.state, other.summary) == ("AderFires", FIRING, "")
