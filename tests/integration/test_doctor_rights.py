"""What doctor says to a user who may not do everything: what is not known, and nothing else."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from ader_stream.types import DAY_MS, MINUTE_MS
from tests.integration.secured import SecuredKafka
from tests.integration.system import RawRecord, System
from tests.integration.test_rights import (
    eventually,
    lacks_of,
    line_of,
    needed,
    printed,
    settings_of,
)

VISITS = 30
ROLE = "doctor"


@pytest.fixture
def system(secured: SecuredKafka, tmp_path: Path) -> Iterator[System]:
    """Topics of an administrator, with clicks that become sessions, somebody else's by name."""
    clicks = {"topic": f"web.{uuid4().hex}.clicks", "check_times": True}
    checked = {"clicks": clicks, "sessionizer": {"idle_timeout": "1m"}}
    with System(secured.bootstrap_servers, tmp_path, checked) as system:
        since = int(time.time() * 1000) - DAY_MS
        for number in range(VISITS):
            key, time_ = f"visit-{number}", since + number * 40 * MINUTE_MS
            value = json.dumps({"session": key, "item": "hat", "time": time_}).encode()
            system.send_raw([RawRecord(key.encode(), value, partition=0)])
        secured.grant(printed(system, ROLE))
        settings = settings_of(system, secured, ROLE)
        eventually(lambda: "; ".join(lacks_of(settings, ROLE)), None)
        yield system


def examined(system: System, secured: SecuredKafka) -> tuple[int, list[dict[str, Any]]]:
    done = system.command("doctor", "--json", kafka=secured.kafka_of("operator"))
    assert "Traceback" not in done.stderr
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def test_with_the_rights_that_are_listed_everything_is_looked_at(
    system: System, secured: SecuredKafka
) -> None:
    code, findings = examined(system, secured)
    assert (code, {finding["level"] for finding in findings}) == (0, {"ok"})
    assert {"retention", "places", "sessions", "blocks"} <= {f["check"] for f in findings}


@pytest.mark.timeout(600)
def test_what_may_not_be_looked_at_hides_no_session(system: System, secured: SecuredKafka) -> None:
    settings = settings_of(system, secured, ROLE)
    for right in needed(settings, ROLE):
        if right.operations == ("Describe",) and right.resource == "Topic":
            continue  # topics that may not be described look as if they were missing
        line = line_of(right, ROLE)
        secured.revoke([line])
        eventually(lambda: "; ".join(lacks_of(settings, ROLE)), right)
        code, findings = examined(system, secured)
        is_of_clicks = right.name == system.topics.clicks
        reads_clicks = is_of_clicks and right.operations == ("Read",)
        assert code == (1 if reads_clicks else 0), findings
        assert reads_clicks != any(f["check"] == "sessions" for f in findings)
        unknown = [f for f in findings if "not checked" in f["text"] or "not auth" in f["text"]]
        asks_in_any_case = is_of_clicks or right.resource != "Topic"
        assert unknown or not asks_in_any_case, (right, findings)
        secured.grant([line])
        eventually(lambda: "; ".join(lacks_of(settings, ROLE)), None)
