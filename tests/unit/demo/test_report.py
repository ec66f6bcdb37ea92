from __future__ import annotations

from dataclasses import replace

from ader_stream.demo.report import BlockReport, DemoReport, SeenItems
from ader_stream.types import Click, Counts


def test_has_the_keys_that_programs_rely_on(report: DemoReport) -> None:
    assert list(report.as_json()) == [
        "dataset",
        "simulated",
        "kafka",
        "clicks_sent",
        "clicks_consumed",
        "sessions_published",
        "dead_letters",
        "seconds",
        "blocks",
    ]
    assert report.as_json()["kafka"] == {"version": "4.1.0", "source": "an image"}


def test_a_block_tells_its_update_and_its_score_in_percent(report: DemoReport) -> None:
    assert report.blocks[1].as_json() == {
        "block": 1,
        "clicks": 900,
        "sessions": 280,
        "new_item_share": 18.25,
        "version": 2,
        "parent": 1,
        "train_seconds": 8.5,
        "epochs": 6,
        "exemplars": 4_000,
        "lambda": 0.4,
        "validation_recall@20": None,
        "publish_to_live_seconds": None,
        "scored_by_version": 1,
        "prequential": {
            "recall@10": 25.0,
            "recall@20": 50.0,
            "mrr@10": 10.0,
            "mrr@20": 15.0,
            "targets": 200,
            "unknown_items": 7,
        },
    }


def test_the_first_block_has_no_score(report: DemoReport) -> None:
    first = report.blocks[0].as_json()
    assert (first["scored_by_version"], first["prequential"]) == (None, None)
    assert (first["version"], first["parent"], first["lambda"]) == (1, None, 0.0)


def test_the_last_block_has_no_version(report: DemoReport) -> None:
    last = report.blocks[2].as_json()
    assert [last[name] for name in ("version", "epochs", "train_seconds")] == [None] * 3


def test_a_block_without_targets_has_no_percentages() -> None:
    block = BlockReport(1, 5, 5, 0.0, 1, Counts(unknown=5))
    assert block.as_json()["prequential"] == {
        "recall@10": None,
        "recall@20": None,
        "mrr@10": None,
        "mrr@20": None,
        "targets": 0,
        "unknown_items": 5,
    }


def test_the_mean_weighs_every_scored_block_alike(report: DemoReport) -> None:
    assert report.mean("recall@20") == (50.0 + 60.0) / 2
    assert replace(report, blocks=report.blocks[:1]).mean("recall@20") is None


def test_new_items_are_those_that_no_earlier_block_had() -> None:
    seen = SeenItems()
    blocks = [["hat", "shoe"], ["hat", "lamp", "lamp", "shoe"], ["lamp"], []]
    shares = [seen.new_share([Click("a", item, 0) for item in block]) for block in blocks]
    assert shares == [None, 50.0, 0.0, None]
