"""Another encoder and width from the next block on, and items that leave, in the whole system."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.integration.simulated import simulated_clicks
from tests.integration.system import SMALL, Kafka, System

OVERRIDES: dict[str, Any] = {**SMALL["trainer"]["overrides"], "exemplars": 20}
RETAINED = {"item_retention": 1, "overrides": OVERRIDES}
PAPER = {"recipe": "paper", "overrides": OVERRIDES | {"hidden": 24}, "rebuild_blocks": 2}


def test_a_trainer_with_another_recipe_rebuilds_the_model_from_the_last_blocks(
    kafka: Kafka, tmp_path: Path
) -> None:
    with System(kafka.bootstrap_servers, tmp_path) as system:
        blocks = simulated_clicks(system.settings.block_rule, blocks=4, walks=120)
        blocks[0] = [click._replace(item=f"{click.item} of last year") for click in blocks[0]]
        trainer = system.start("trainer", trainer=RETAINED)
        for name in ("sessionizer", "inference"):
            system.start(name)
        for block in (0, 1, 2):
            system.send(blocks[block])
            system.end_block(block)
            system.wait_until_served(block)
        left = [manifest["report"]["left_items"] for manifest in system.manifests()]
        assert trainer.metric("ader_items_left_total") == sum(left) > 0
        trainer.terminate()
        assert trainer.wait() == 0

        other = system.start("trainer", trainer=PAPER)
        system.send(blocks[3])
        system.end_block(3)
        system.wait_until_served(3)
        _, second, third, fourth = system.manifests()
        assert (fourth["parent"], fourth["blocks"], fourth["recipe"]) == (3, [3], "paper")
        assert fourth["report"]["is_rebuilt"]
        again = second["report"]["sessions"] + third["report"]["sessions"]
        assert fourth["report"]["earlier_sessions"] == again
        assert fourth["report"]["items"] >= third["report"]["items"]
        assert other.logged("another architecture than the parent's") == 1
