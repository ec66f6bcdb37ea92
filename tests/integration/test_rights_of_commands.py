"""Each command, run with exactly the rights that the table gives it, and without any."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ader_stream.cli.main import cli
from ader_stream.errors import AuthorizationError
from tests.integration.secured import SecuredKafka
from tests.integration.simulated import simulated_clicks
from tests.integration.system import RawRecord, System
from tests.integration.test_rights import eventually, printed, refusal, settings_of

KEY = "visitor-1"


@pytest.fixture(scope="module")
def filled(secured: SecuredKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A system that has published a version, and stands still."""
    folder = tmp_path_factory.mktemp("filled")
    with System(secured.bootstrap_servers, folder, partitions=2) as system:
        workers = [system.start(name) for name in ("sessionizer", "trainer", "inference")]
        system.send_raw([RawRecord(b"poisoned", b"no click", partition=0)])
        system.send(simulated_clicks(system.settings.block_rule, blocks=1, walks=60)[0])
        system.end_block(0)
        system.wait_until_served(0)
        system.wait_until(lambda: system.view.dead_letters, "a dead letter")
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.wait()
        yield system


def run(system: System, secured: SecuredKafka, *arguments: str) -> Result:
    """Run a command as the operator, here: Python takes longer to start than it takes."""
    environment = system.environment({"kafka": secured.kafka_of("operator")})
    return CliRunner().invoke(cli, arguments, env=environment)


@pytest.mark.parametrize(
    ("role", "arguments"),
    [
        ("topics check", ()),
        ("topics create", ()),
        ("schemas check", ()),
        ("sessions dump", ("--json",)),
        ("drift", ("--json",)),
        ("dead-letters list", ("--json",)),
        ("dead-letters replay --dry-run", ()),
        ("dead-letters replay", ()),
        ("models list", ()),
        ("models show", ("1",)),
        ("models diff", ("1", "1")),
        ("models verify", ()),
        ("models pin", ("1",)),
        ("models rollback", ("1",)),
        ("models unpin", ()),
        ("models prune", ("--keep", "2")),
        ("forget", (KEY,)),
        ("watermark show", ()),
        ("watermark reset", ("--to", "1970-01-05T01:00:00Z", "--yes")),
    ],
)
def test_a_command_runs_with_exactly_its_rights_and_names_what_lacks_without(
    filled: System, secured: SecuredKafka, role: str, arguments: tuple[str, ...]
) -> None:
    settings = settings_of(filled, secured, role)
    lines = printed(filled, role)

    refused = run(filled, secured, *role.split(), *arguments)
    assert isinstance(refused.exception, AuthorizationError)
    assert f"{role} needs" in str(refused.exception)

    secured.grant(lines)
    eventually(lambda: refusal(settings, role), None)
    done = run(filled, secured, *role.split(), *arguments)
    secured.revoke(lines)
    assert (done.exit_code, done.exception) == (0, None), done.output


def test_a_guess_reads_the_clicks_and_nothing_else(filled: System, secured: SecuredKafka) -> None:
    lines = printed(filled, "guess")
    assert "guess needs" in str(run(filled, secured, "guess").exception)
    secured.grant(lines)
    eventually(lambda: refusal(settings_of(filled, secured, "guess"), "guess"), None)

    done = run(filled, secured, "guess")

    secured.revoke(lines)
    assert done.exit_code == 3, done.output  # clicks of 1970: no field holds plausible times
    assert 'session_field = "session"' in done.output


def test_a_promotion_that_depends_on_scores_needs_no_more_than_its_rights(
    filled: System, secured: SecuredKafka
) -> None:
    role = "models promote --when-better"
    lines = printed(filled, role)
    secured.grant(lines)
    eventually(lambda: refusal(settings_of(filled, secured, role), role), None)

    done = run(filled, secured, *role.split())

    secured.revoke(lines)
    assert "there is no canary to promote" in str(done.exception)


def test_a_replay_writes_clicks_with_exactly_its_rights(
    filled: System, secured: SecuredKafka, tmp_path: Path
) -> None:
    (tmp_path / "period_0.txt").write_text("visit item-1\nvisit item-2\n")
    lines = printed(filled, "replay")
    secured.grant(lines)
    eventually(lambda: refusal(settings_of(filled, secured, "replay"), "replay"), None)

    done = run(filled, secured, "replay", "--dataset", str(tmp_path), "--json")

    secured.revoke(lines)
    assert done.exit_code == 0, done.output
    assert json.loads(done.output.splitlines()[-1])["clicks_sent"] == 2


@pytest.mark.parametrize("worker", ["sessionizer", "trainer", "inference", "monitor"])
def test_doctor_names_all_that_a_worker_lacks_and_how_to_grant_it(
    filled: System, secured: SecuredKafka, worker: str
) -> None:
    done = run(filled, secured, "doctor", "--as", worker, "--json")

    found = [json.loads(line) for line in done.output.splitlines() if line.startswith("{")]
    reported = [finding for finding in found if finding["check"] == "rights"]
    [unseen, *lacks] = sorted(reported, key=lambda finding: str(finding["level"] == "error"))
    assert lacks
    assert all(finding["remedy"].startswith("kafka-acls ") for finding in lacks)
    assert "TransactionalId" in unseen["text"]  # nobody may see whether that worker runs
    assert done.exit_code == 1
