"""The configuration of Alertmanager, in a real Alertmanager: who is told, and what is muted."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import httpx
import pytest

from ader_stream.observability.__main__ import DEPLOY
from ader_stream.observability.rules_file import ALERTS
from tests.unit.observability.programs import free_port, run, until

CONFIGURATION = DEPLOY / "prometheus/alertmanager.yml"
COMPONENT = {alert.name: alert.component.value for alert in ALERTS}


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    port, folder = free_port(), tmp_path_factory.mktemp("alertmanager")
    command = [
        *("prometheus-alertmanager", f"--config.file={CONFIGURATION}"),
        *(f"--storage.path={folder}", "--cluster.listen-address="),
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (
        subprocess.Popen(command, stderr=subprocess.DEVNULL) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        try:
            until(lambda: client.get("/-/ready").is_success)
            yield client
        finally:
            process.terminate()


def test_amtool_accepts_the_configuration() -> None:
    run("amtool", "check-config", CONFIGURATION)


@pytest.mark.parametrize("severity", ["page", "ticket"])
def test_each_severity_has_a_receiver_of_its_own(severity: str) -> None:
    to = run(
        "amtool",
        "config",
        "routes",
        "test",
        f"--config.file={CONFIGURATION}",
        f"severity={severity}",
    )

    assert to.strip() == severity


def muted(client: httpx.Client, *alerts: tuple[str, str, str]) -> set[str]:
    """Send alerts (pipeline, name, severity), and return the names of those that are muted."""
    sent = [
        {
            "labels": {
                "prefix": prefix,
                "alertname": name,
                "severity": severity,
                "component": COMPONENT[name],
            }
        }
        for prefix, name, severity in alerts
    ]
    assert client.post("/api/v2/alerts", json=sent).is_success
    wanted = {prefix for prefix, *_ in alerts}

    def seen() -> list[dict]:
        found = client.get("/api/v2/alerts").json()
        mine = [alert for alert in found if alert["labels"]["prefix"] in wanted]
        has_settled = len(mine) == len(alerts) and all(
            alert["status"]["state"] != "unprocessed" for alert in mine
        )
        return mine if has_settled else []

    return {alert["labels"]["alertname"] for alert in until(seen) if alert["status"]["inhibitedBy"]}


def test_no_alert_of_quality_while_the_pipeline_stands(alertmanager: httpx.Client) -> None:
    assert muted(
        alertmanager,
        ("standing", "AderNoProgress", "page"),
        ("standing", "AderRecallFall", "ticket"),
    ) == {"AderRecallFall"}


def test_a_ticket_of_the_pipeline_mutes_no_quality(alertmanager: httpx.Client) -> None:
    assert not muted(
        alertmanager,
        ("late", "AderLateClicks", "ticket"),
        ("late", "AderRecallFall", "ticket"),
    )


def test_a_page_mutes_the_tickets_that_it_covers_and_no_others(alertmanager: httpx.Client) -> None:
    assert muted(
        alertmanager,
        ("lag", "AderLag", "page"),
        ("lag", "AderLagGrowing", "ticket"),
        ("lag", "AderErasureWaiting", "ticket"),
    ) == {"AderLagGrowing"}


def test_another_pipeline_is_not_muted(alertmanager: httpx.Client) -> None:
    assert not muted(
        alertmanager,
        ("one", "AderNoProgress", "page"),
        ("another", "AderRecallFall", "ticket"),
    )


def test_a_page_mutes_the_ticket_of_the_same_name(alertmanager: httpx.Client) -> None:
    alerts = [("same", "AderDeadLetters", "page"), ("same", "AderDeadLetters", "ticket")]

    assert muted(alertmanager, *alerts) == {"AderDeadLetters"}
