"""A topic of which nothing is known: the settings that are guessed run a sessionizer."""

from __future__ import annotations

import json
import time
import tomllib
from pathlib import Path

from ader_stream.types import DAY_MS
from tests.integration.simulated import expected_sessions, simulated_clicks
from tests.integration.system import Kafka, RawRecord, System


def test_a_sessionizer_runs_with_the_settings_that_were_guessed(
    kafka: Kafka, tmp_path: Path
) -> None:
    yesterday = int(time.time() * 1000) - DAY_MS  # the broker keeps records of the last days
    blocks = {"blocks": {"origin": yesterday, "length": "1d"}}
    with System(kafka.bootstrap_servers, tmp_path, blocks) as system:
        rule = system.settings.block_rule
        [clicks] = simulated_clicks(rule, blocks=1)
        records = [
            RawRecord(
                click.key.encode(),
                json.dumps(
                    {"user": click.key, "on": {"article": click.item}, "at": click.time / 1000}
                ).encode(),
                timestamp=click.time + 1,
            )
            for click in clicks
        ]
        system.send_raw(records)
        guessed = system.command("guess", "--topic", system.topics.clicks)
        assert guessed.returncode == 0, guessed.stdout + guessed.stderr
        settings = tomllib.loads(guessed.stdout)
        assert settings["clicks"]["item_field"] == "on.article"

        worker = system.start("sessionizer", **settings)
        system.wait_until_holding(worker)
        system.end_block(0)
        system.wait_until_sessions_have(len(clicks))
        assert system.sessions() == expected_sessions(rule, clicks)

        ours = system.command("guess", "--topic", system.topics.control)
        assert ours.returncode == 2
        missing = system.command("guess", "--topic", f"{system.topics.clicks}s")
        assert missing.returncode == 1
        assert f"did you mean {system.topics.clicks}?" in missing.stderr
