from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from ader_stream.cli.main import cli
from ader_stream.cli.trial.advice import (
    FINETUNING,
    PAPER,
    SAMPLED,
    block_facts,
    block_length,
    findings,
    recommended_recipe,
)
from ader_stream.cli.trial.baselines import popularity, recall_of, session_knn
from ader_stream.cli.trial.sample import last_blocks, recent_blocks, thinned
from ader_stream.cli.trial.survey import Survey, survey
from ader_stream.cli.trial.trained import Trained
from ader_stream.datasets import TableLayout, open_dataset
from ader_stream.datasets.tables.dataset import TableDataset
from ader_stream.types import DAY_MS, HOUR_MS, MINUTE_MS, BlockRule

START = 1_704_153_600_000  # 2024-01-02 00:00 UTC


def table(folder: Path, days: int, pause: Callable[[int], int], visits: int = 30) -> Path:
    """Write visits of four clicks on one of ten shelves each; `pause` is before click n."""
    draw = random.Random(0)
    rows = ["session,item,time"]
    for visit in range(days * visits):
        shelf, time = visit % 10, START + visit * DAY_MS // visits
        for click, item in enumerate(draw.sample(range(5), 4)):
            time += pause(click)
            rows.append(f"v{visit},{shelf}-{item},{time}")
    path = folder / "clicks.csv"
    path.write_text("\n".join(rows))
    return path


def surveyed(path: Path) -> Survey:
    dataset = open_dataset(path, BlockRule(0, DAY_MS), 30 * MINUTE_MS, TableLayout())
    assert isinstance(dataset, TableDataset)
    return survey(dataset.connection)


def test_a_gap_is_suggested_that_leaves_sessions_whole(tmp_path: Path) -> None:
    found = surveyed(table(tmp_path, days=3, pause=lambda _: 29 * MINUTE_MS))
    assert (found.keys_are_sessions, found.gap) == (True, 30 * MINUTE_MS)
    assert (found.clicks, found.cut[15 * MINUTE_MS]) == (360, 1.0)


def test_keys_with_long_pauses_are_users_and_are_cut_as_usual(tmp_path: Path) -> None:
    found = surveyed(table(tmp_path, days=3, pause=lambda click: 3 * HOUR_MS * (click == 2)))
    assert (found.keys_are_sessions, found.gap) == (False, 30 * MINUTE_MS)


def test_sessions_are_counted_by_whole_block(tmp_path: Path) -> None:
    found = surveyed(table(tmp_path, days=6, pause=lambda _: MINUTE_MS))
    assert (found.sessions[DAY_MS], found.whole_blocks[DAY_MS]) == (30, 4)


def test_the_shortest_block_with_enough_sessions_is_suggested() -> None:
    blocks = {HOUR_MS: 500, DAY_MS: 20, 7 * DAY_MS: 2}
    busy = Survey(0, 0, 0, 0, 0, sessions={HOUR_MS: 90, DAY_MS: 2_160}, whole_blocks=blocks)
    quiet = Survey(0, 0, 0, 0, 0, sessions={HOUR_MS: 1, DAY_MS: 24}, whole_blocks=blocks)
    assert (block_length(busy), block_length(quiet)) == (DAY_MS, DAY_MS)


def test_recent_blocks_are_whole_and_cut_by_the_gap(tmp_path: Path) -> None:
    path = table(tmp_path, days=8, pause=lambda click: HOUR_MS * (click == 2))
    dataset = open_dataset(path, BlockRule(0, DAY_MS), 30 * MINUTE_MS, TableLayout())
    assert isinstance(dataset, TableDataset)
    blocks = recent_blocks(dataset.connection, 30 * MINUTE_MS, DAY_MS)
    assert len(blocks) == 5
    assert {len(session) for session in blocks[-1]} == {2}


def test_a_sample_keeps_order_and_says_its_share() -> None:
    blocks = [[(str(n), "x") for n in range(1_000)]] * 2
    drawn = thinned(blocks, clicks=400, seed=1)
    assert drawn.share == 0.1
    assert 120 < sum(map(len, drawn.sessions)) < 280
    assert drawn.sessions[0] == sorted(drawn.sessions[0], key=lambda one: int(one[0]))


def test_a_trial_starts_from_two_blocks_and_predicts_at_most_three() -> None:
    blocks = [[(str(n),)] for n in range(7)]
    assert last_blocks(blocks) == [[("2",), ("3",)], [("4",)], [("5",)], [("6",)]]
    assert last_blocks(blocks[:2]) == [[("0",)], [("1",)]]


def test_baselines_count_no_target_that_nobody_has_seen() -> None:
    blocks = [[("a", "b")], [("a", "new")]]
    assert recall_of(popularity, blocks, seed=0) == [0.0]


def test_neighbours_find_what_is_clicked_together_where_popularity_does_not() -> None:
    shelves = [tuple(f"{shelf}-{item}" for item in range(4)) for shelf in range(50)]
    blocks = [shelves, [session[::-1] for session in shelves]]
    assert recall_of(session_knn, blocks, seed=0) == [100.0]
    assert recall_of(popularity, blocks, seed=0)[0] == 100.0  # all scores are equal: no miss
    skewed = [[*shelves, *shelves[:10] * 3], blocks[1]]
    assert recall_of(popularity, skewed, seed=0)[0] < 50


def test_neighbours_score_by_cosine() -> None:
    scores = session_knn([np.array([0, 1]), np.array([0, 2, 3])], 4)(np.array([0]))
    assert scores == pytest.approx([1 / 2**0.5 + 1 / 3**0.5, 1 / 2**0.5, 1 / 3**0.5, 1 / 3**0.5])


def test_facts_of_blocks_are_shares() -> None:
    facts = block_facts([[("a", "b")], [("a", "a", "c"), ("d",)]])
    assert (facts[1].trained, facts[1].repeats) == (0.5, 0.25)
    assert facts[1].new_items == pytest.approx(2 / 3)


def trained(name: str, *recall: float) -> Trained:
    return Trained(name, list(recall), [], [], [], None)


def test_the_papers_recipe_is_recommended_where_it_is_clearly_better_on_the_same_sessions() -> None:
    assert recommended_recipe([trained(PAPER, 40, 41), trained(SAMPLED, 30)]) == "paper"
    assert recommended_recipe([trained(PAPER, 40, 41), trained(SAMPLED, 39.5)]) == "production"
    assert recommended_recipe([trained(PAPER), trained(SAMPLED, 30)]) == "production"


def test_findings_name_data_that_are_not_fit() -> None:
    facts = block_facts([[("a",)], [("b", "b", "b"), *[("c",)] * 9]])
    compared = [trained(FINETUNING, 10), trained(PAPER, 10)]
    said = "\n".join(findings(facts, [trained("ADER", 9)], compared, {"popularity": 9}))
    for text in (
        "Only 10% of the sessions have two clicks",
        "less than 1,000 recall is uncertain",
        "100% of the items in the last block are new",
        "ADER is not clearly better than popularity",
        "no time to compare ADER with finetuning",
    ):
        assert text in said


def test_try_writes_one_page_with_recall_cost_and_settings(tmp_path: Path) -> None:
    path = table(tmp_path, days=7, pause=lambda _: MINUTE_MS, visits=10)
    out = tmp_path / "page.md"
    done = CliRunner().invoke(
        cli, ["try", "--dataset", str(path), "--minutes", "1", "--out", str(out)]
    )
    assert (done.exception, done.exit_code) == (None, 0)
    text = out.read_text(encoding="utf-8")
    for part in (
        "280 clicks of about ",
        "Left out: nothing. Blocks: 1d.",
        "| popularity |",
        "| ADER (production) |",
        "| finetuning (paper) |",
        "| ADER (paper) |",
        'gap = "30m"',
        'length = "1d"',
        "min_sessions = 1",
    ):
        assert part in text


def test_try_refuses_data_of_a_single_block(tmp_path: Path) -> None:
    path = tmp_path / "clicks.csv"
    path.write_text(f"session,item,time\na,1,{START}\na,2,{START + 1}\n")
    done = CliRunner().invoke(cli, ["try", "--dataset", str(path), "--out", str(tmp_path / "x")])
    assert "expected two or more" in str(done.exception)
