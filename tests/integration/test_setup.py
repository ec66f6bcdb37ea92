"""Whether what stands in the topics can be read here."""

from __future__ import annotations

import json
from pathlib import Path

from ader_stream.stream.avro.codec import SCHEMA_HEADER, encode
from tests.integration.system import Kafka, System
from tests.integration.test_dead_letters import as_record, clicks_of


def test_schemas_that_cannot_be_read_here_are_reported(kafka: Kafka, tmp_path: Path) -> None:
    with System(kafka.bootstrap_servers, tmp_path) as system:
        system.start("sessionizer")
        system.send_raw(as_record(click, click.time) for click in clicks_of(system, 20))
        system.end_block(0)
        system.wait_until_sessions_have(20)
        sound = system.command("schemas", "check", "--json")
        assert sound.returncode == 0, sound.stderr
        uses = [json.loads(line) for line in sound.stdout.splitlines()]
        assert {use["state"] for use in uses} == {"current"}
        assert {"SessionBatch", "BlockEnd", "PartitionState"} <= {use["type"] for use in uses}

        value, headers = encode("Replayed", {"offsets": [1]})
        newer = [(name, b"0" * 16 if name == SCHEMA_HEADER else text) for name, text in headers]
        producer = system.clients.producer()
        producer.produce(system.topics.dead_letters, value, headers=newer, partition=1)
        producer.flush()
        wrong = system.command("schemas", "check")
        assert wrong.returncode == 1
        [line] = [line for line in wrong.stdout.splitlines() if line.startswith("unreadable")]
        assert "Replayed 0000000000000000  1 records: partition 1, offset " in line
        assert "update this process" in line
