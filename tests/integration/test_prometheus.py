"""Prometheus reads what is written for it: every metric, and the scrape configurations."""

from __future__ import annotations

from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import generate_latest

from ader_stream.metrics import CATALOGUE, Metrics
from tests.integration.promtool import objections

FOLDER = Path(__file__).parents[2] / "deploy" / "prometheus"
SCRAPE = FOLDER / "scrape.yml"
DISCOVERY = """\
    kubernetes_sd_configs:
      - role: pod
        selectors:
          - role: pod
            label: app.kubernetes.io/name=ader-stream
"""


def test_promtool_accepts_every_metric_of_the_catalogue() -> None:
    metrics = Metrics(CollectorRegistry())
    for metric in CATALOGUE:
        child = metrics[metric].labels(*metric.labels) if metric.labels else metrics[metric]
        use = {Counter: "inc", Gauge: "set", Histogram: "observe"}[metric.kind]
        getattr(child, use)(1)
    shown = generate_latest(metrics.registry)
    assert shown.count(b"# TYPE ader_") == len(CATALOGUE)
    assert objections("metrics", text=shown) == ""


def test_promtool_objects_to_a_bad_name() -> None:
    text = b"# HELP ader_clicks Clicks.\n# TYPE ader_clicks counter\nader_clicks 1\n"
    assert '"_total" suffix' in objections("metrics", text=text)


def test_promtool_accepts_the_scrape_configurations() -> None:
    assert objections("config", SCRAPE) == ""


def test_promtool_accepts_what_is_made_of_pods(tmp_path: Path) -> None:
    """Debian builds Prometheus without Kubernetes: its promtool does not know the discovery."""
    text = (FOLDER / "scrape-kubernetes.yml").read_text()
    assert text.count(DISCOVERY) == 1
    rest = tmp_path / "scrape.yml"
    rest.write_text(text.replace(DISCOVERY, ""))
    assert objections("config", rest) == ""


def test_promtool_objects_to_a_scrape_configuration_without_its_files(tmp_path: Path) -> None:
    alone = tmp_path / "scrape.yml"
    alone.write_text(SCRAPE.read_text())
    assert "targets.yml" in objections("config", alone)
