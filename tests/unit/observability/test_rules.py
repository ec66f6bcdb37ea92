"""The rules: what is committed, what they name, and when each alert fires."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from ader_stream.observability.__main__ import DEPLOY, files
from ader_stream.observability.rule import Alert, Links, Recording, Severity
from ader_stream.observability.rules_file import ALERTS, GROUPS, rules_yaml
from tests.unit.observability.model_cases import DRIFT, OBJECTIVES, QUALITY, SERVING, TRAINING
from tests.unit.observability.pipeline_cases import CASES as PIPELINE
from tests.unit.observability.programs import run
from tests.unit.observability.queries import faults_of
from tests.unit.observability.timelines import Case

RULES_FILE = DEPLOY / "prometheus/ader-stream.rules.yml"
RULES = [rule for group in GROUPS for rule in group.rules]
CASES = {
    "ader-pipeline": PIPELINE,
    "ader-training": TRAINING,
    "ader-serving": SERVING,
    "ader-objectives": OBJECTIVES,
    "ader-quality": (*QUALITY, *DRIFT),
}

every_alert = pytest.mark.parametrize("alert", ALERTS, ids=lambda a: f"{a.name}-{a.severity.value}")


def test_committed_files_are_what_the_code_makes() -> None:
    made = files(Links())

    assert {name: (DEPLOY / name).read_text("utf-8") for name in made} == dict(made)


def test_promtool_accepts_the_rules() -> None:
    run("promtool", "check", "rules", RULES_FILE)


def test_rules_name_metrics_and_labels_that_exist() -> None:
    recorded = {rule.name for rule in RULES if isinstance(rule, Recording)}

    assert not [fault for rule in RULES for fault in faults_of(rule.query, recorded)]


def test_a_metric_or_a_label_that_does_not_exist_is_found() -> None:
    query = 'sum by (reason) (ader_clicks_total{stage="x"}) > ader_nothing'

    assert faults_of(query, set()) == [
        "ader_clicks_total has no label stage",
        "ader_nothing is no metric",
        "no metric has the label reason",
    ]


def test_no_rule_uses_a_counter_that_a_worker_may_not_export_yet_without_care() -> None:
    """`increase(...) > 0` misses the first event of a counter with labels: use `events`."""
    careless = [
        rule.name
        for rule in RULES
        if re.search(r"increase\([^)]*\)\)? > 0", rule.query) and "unless" not in rule.query
    ]

    assert not careless


def test_records_are_named_as_prometheus_recommends() -> None:
    names = [rule.name for rule in RULES if isinstance(rule, Recording)]

    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z_]+:ader_[a-z0-9_]+:[a-z0-9_]+", name) for name in names)


@every_alert
def test_an_alert_says_what_it_is_about_with_values(alert: Alert) -> None:
    assert re.fullmatch(r"Ader([A-Z][a-z]+)+", alert.name)
    assert alert.description.endswith(".")
    assert not alert.summary.endswith(".")


def test_an_alert_covers_alerts_that_exist() -> None:
    names = {alert.name for alert in ALERTS}

    assert {covered for alert in ALERTS for covered in alert.covers} <= names


def test_a_page_is_never_muted_by_a_ticket() -> None:
    tickets = {alert.name for alert in ALERTS} - pages()

    assert not [a.name for a in ALERTS if a.name in tickets and set(a.covers) & pages()]


def pages() -> set[str]:
    return {alert.name for alert in ALERTS if alert.severity is Severity.PAGE}


@every_alert
def test_a_worker_that_restarts_for_two_minutes_pages_nobody(alert: Alert) -> None:
    """Objectives are about requests, whatever the workers do."""
    if alert.severity is Severity.PAGE and "burn_rate" not in alert.labels:
        assert int(alert.hold.removesuffix("m")) >= 3


def test_every_alert_is_fired_by_a_fault() -> None:
    fired = {fired for cases in CASES.values() for case in cases for fired in case.alerts}

    assert fired == {(alert.name, alert.severity.value) for alert in ALERTS}


@pytest.mark.parametrize("component", CASES)
def test_each_fault_fires_its_alerts_and_no_other_and_they_end_with_it(
    component: str, tmp_path: Path
) -> None:
    """Only the component's rules are evaluated: of the others, a case has no series."""
    groups = [group for group in GROUPS if group.name in ("ader-recordings", component)]
    (tmp_path / "rules.yml").write_text(rules_yaml(Links(), groups), "utf-8")
    for interval in {case.interval for case in CASES[component]}:
        (tmp_path / "faults.yml").write_text(promtool_file(component, interval), "utf-8")
        run("promtool", "test", "rules", tmp_path / "faults.yml")


def promtool_file(component: str, interval: str) -> str:
    cases = [case for case in CASES[component] if case.interval == interval]
    return yaml.safe_dump(
        {
            "rule_files": ["rules.yml"],
            "evaluation_interval": interval,
            "tests": [as_promtool(case) for case in cases],
        }
    )


FIRING = 'count by (alertname, severity) (ALERTS{alertstate="firing"}) >= bool 1'


def as_promtool(case: Case) -> dict[str, object]:
    step = int(case.interval.removesuffix("m"))
    looks = {case.before: set(), case.during: case.alerts, case.after: set()}
    return {
        "name": case.name,
        "interval": case.interval,
        "input_series": [{"series": s, "values": v} for s, v in case.series.items()],
        "promql_expr_test": [
            {"expr": FIRING, "eval_time": f"{at * step}m", "exp_samples": samples(alerts)}
            for at, alerts in looks.items()
        ],
    }


def samples(alerts: set[tuple[str, str]]) -> list[dict[str, object]]:
    return [
        {"labels": f'{{alertname="{name}",severity="{severity}"}}', "value": 1}
        for name, severity in sorted(alerts)
    ]
