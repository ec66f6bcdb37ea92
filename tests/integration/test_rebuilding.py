"""Another encoder and width from the next block on, and items that leave, in the whole system."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.integration.simulated import simulated_clicks
from tests.integration.system import SMALL, Kafka, System

OVERRIDES: dict[str, Any] = {**SMALL["trainer"]["overrides"], "exemplars": 20, "max_epochs": 2}
ANY = dict.fromkeys(
    ("max_recall_drop", "max_forgetting", "max_negative_flips", "max_embedding_drift"), 100.0
)
"""What a gate allows that is not asked: two epochs on a changed shop leave little as it was."""

RETAINED = {"item_retention": 1, "overrides": OVERRIDES} | ANY
PAPER = {"recipe": "paper", "overrides": OVERRIDES | {"hidden": 24}, "rebuild_blocks": 2} | ANY


def test_a_trainer_with_another_recipe_rebuilds_the_model_from_the_last_blocks(
    kafka: Kafka, tmp_path: Path
) -> None:
    with System(kafka.bootstrap_servers, tmp_path) as system:
        blocks = simulated_clicks(system.settings.block_rule, blocks=3, walks=80)
        blocks[0] = [click._replace(item=f"{click.item} of last year") for click in blocks[0]]
        trainer = system.start("trainer", trainer=RETAINED)
        for name in ("sessionizer", "inference"):
            system.start(name)
        for block in (0, 1):
            system.send(blocks[block])
            system.end_block(block)
            system.wait_until_served(block)
        left = sum(manifest.report.left_items for manifest in system.manifests())
        assert left > 0
        system.wait_until(
            lambda: trainer.metric("ader_items_left_total") == left, "what left is counted"
        )
        trainer.terminate()
        assert trainer.wait() == 0

        other = system.start("trainer", trainer=PAPER)
        system.send(blocks[2])
        system.end_block(2)
        system.wait_until_served(2)
        first, second, third = system.manifests()
        assert (third.parent, third.blocks, third.recipe) == (2, (2,), "paper")
        assert third.report.is_rebuilt
        again = first.report.sessions + second.report.sessions
        assert third.report.earlier_sessions == again
        assert third.report.items >= second.report.items
        assert other.logged("another architecture than the parent's") == 1
