"""A block that the gate cannot judge a version by is trained again with the next one."""

from __future__ import annotations

from pathlib import Path

from ader_stream.types import Click
from tests.integration.simulated import simulated_clicks
from tests.integration.system import Kafka, System

JOIN = {"trainer": {"when_undecided": "join"}}
FIRST_VISITS = 3


def first_visits(clicks: list[Click]) -> list[Click]:
    """The clicks of the first visitors who come back."""
    keys = list(dict.fromkeys(click.key for click in clicks))
    several = [key for key in keys if sum(click.key == key for click in clicks) > 1]
    return [click for click in clicks if click.key in several[:FIRST_VISITS]]


def test_a_first_block_of_a_few_visits_waits_for_the_next_one_whoever_leads(
    kafka: Kafka, tmp_path: Path
) -> None:
    with System(kafka.bootstrap_servers, tmp_path, JOIN) as system:
        blocks = simulated_clicks(system.settings.block_rule, blocks=3, walks=200)
        blocks[0] = first_visits(blocks[0])
        trainer = system.start("trainer")
        for name in ("sessionizer", "inference"):
            system.start(name)
        system.send(blocks[0])
        system.end_block(0)
        system.wait_until(lambda: len(system.view.manifests) == 1, "the first block is judged")
        [first] = system.manifests()
        assert (first.status, first.blocks, first.parts) == ("rejected", (0,), ())
        assert "too little is known of it" in first.gate.undecided
        assert "they are trained again with the next block" in first.rejection
        assert trainer.metric("ader_versions_undecided_total") == 1
        assert system.view.served_block() == 0, "nobody waits for it"

        trainer.terminate()
        assert trainer.wait() == 0
        system.start("trainer")
        for block in (1, 2):
            system.send(blocks[block])
            system.end_block(block)
            system.wait_until_served(block)
        _, second, third = system.manifests()
        assert (second.blocks, second.parent, second.predecessor) == ((0, 1), None, 1)
        assert second.status == third.status == "accepted"
        assert second.report.clicks == len(blocks[0]) + len(blocks[1])
        begin = {place.partition: place.first_offset for place in third.run.offsets}
        end = {place.partition: place.next_offset for place in second.run.offsets}
        assert (third.blocks, third.parent) == ((2,), 2)
        assert begin == end
