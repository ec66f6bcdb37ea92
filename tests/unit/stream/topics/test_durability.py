from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ader_stream.errors import SettingsError, TopicError
from ader_stream.settings import load_settings
from ader_stream.stream.topics.differences import reassignment, too_few
from ader_stream.stream.topics.durability import (
    Durability,
    PartitionReplicas,
    replicas_of,
    spread,
)
from ader_stream.stream.topics.topics import Topics, check_topics, create_topics, near_names


def cluster(brokers: int, **replicas: list[int]) -> Any:
    """A cluster with topics of one partition, kept by these brokers."""
    return SimpleNamespace(
        brokers=dict.fromkeys(range(1, brokers + 1)),
        topics={
            name: SimpleNamespace(partitions={0: SimpleNamespace(replicas=kept)})
            for name, kept in replicas.items()
        },
    )


@pytest.mark.parametrize(
    ("brokers", "clicks", "asked", "expected"),
    [
        (1, None, (0, 0), (1, 1)),
        (1, 1, (0, 0), (1, 1)),
        (2, 1, (0, 0), (2, 1)),
        (2, 2, (0, 0), (2, 1)),
        (3, None, (0, 0), (3, 2)),
        (3, 1, (0, 0), (3, 2)),
        (5, 4, (0, 0), (4, 2)),
        (9, 3, (0, 0), (3, 2)),
        (3, 3, (1, 0), (1, 1)),
        (3, 3, (2, 2), (2, 2)),
        (5, 3, (5, 3), (5, 3)),
        (3, 3, (0, 3), (3, 3)),
    ],
)
def test_replicas_are_as_asked_or_as_the_cluster_suggests(
    brokers: int, clicks: int | None, asked: tuple[int, int], expected: tuple[int, int]
) -> None:
    topics = {} if clicks is None else {"clicks": [*range(1, clicks + 1)]}
    found = cluster(brokers, **topics)
    assert Durability(*asked).on(found, "clicks") == expected
    assert Durability(*asked).for_new_topics(found, "clicks") == expected


def test_a_topic_that_could_not_be_written_is_not_asked_for() -> None:
    with pytest.raises(TopicError, match=r"min_insync_replicas = 2: expected at most .* 1 here"):
        Durability(0, 2).on(cluster(1), "clicks")
    with pytest.raises(SettingsError, match=r"min_insync_replicas = 3: expected at most .* 2"):
        load_settings(kafka={"replication_factor": 2, "min_insync_replicas": 3})


def test_brokers_that_are_away_are_no_reason_to_accept_less() -> None:
    asked = Durability(3)
    assert asked.on(cluster(2), "clicks").factor == 3
    with pytest.raises(TopicError, match=r"replication_factor = 3: expected at most .* brokers, 2"):
        asked.for_new_topics(cluster(2), "clicks")


def test_a_topic_stays_writable_until_it_has_its_replicas() -> None:
    replication = Durability().on(cluster(3), "clicks")
    written = [replication.config(count)["min.insync.replicas"] for count in (1, 2, 3)]
    assert written == ["1", "2", "2"]


def test_settings_decide_how_topics_are_kept() -> None:
    settings = load_settings(kafka={"replication_factor": 5, "min_insync_replicas": 4})
    assert settings.topics.durability == Durability(5, 4)


# --- what has to be kept, and how


@pytest.mark.parametrize("topic", [*Topics("ader", "shop.clicks").needed_configs()])
def test_whatever_a_clusters_defaults_are_each_topic_says_what_it_keeps(topic: str) -> None:
    config = Topics("ader", "shop.clicks").needed_configs()[topic]
    assert config["unclean.leader.election.enable"] == "false"
    assert config["cleanup.policy"] in ("delete", "compact", "compact,delete")
    assert int(config["max.message.bytes"]) >= 4 * 2**20
    is_temporary = topic in ("ader.dead-letters", "ader.recommendations")
    assert config["retention.bytes"] == "-1"
    assert config["retention.ms"] == (str(7 * 86_400_000) if is_temporary else "-1")
    if "compact" in config["cleanup.policy"]:
        assert int(config["delete.retention.ms"]) >= 86_400_000


def test_the_users_clicks_are_the_users_to_configure() -> None:
    assert "shop.clicks" not in Topics("ader", "shop.clicks").needed_configs()
    ours = Topics("ader").needed_configs()["ader.clicks"]
    assert ours == {"unclean.leader.election.enable": "false"}, "the rest is the user's to say"


def test_a_topic_of_kafkas_own_holds_no_clicks() -> None:
    with pytest.raises(SettingsError, match=r"'__consumer_offsets': a topic of Kafka"):
        load_settings(clicks={"topic": "__consumer_offsets"})


def test_a_topic_that_is_named_like_our_own_clicks_is_ours() -> None:
    assert Topics("ader", "ader.clicks").owns_clicks
    assert not Topics("ader", "other.clicks").owns_clicks


@pytest.mark.parametrize(
    ("there", "said"),
    [
        (["web.clicks", "web.orders"], "did you mean web.clicks? Set clicks.topic"),
        (["__consumer_offsets", "ader.clicks"], "no such topic; set clicks.topic"),
        ([], "or create it: `ader-stream topics create --with-clicks`"),
    ],
)
def test_where_a_clicks_topic_is_missing_near_names_are_reported(
    there: list[str], said: str
) -> None:
    found = cluster(1, **{name: [1] for name in there})
    admin = SimpleNamespace(list_topics=lambda **_: found)
    for refuse in (check_topics, lambda *given: create_topics(*given, 1)):
        with pytest.raises(TopicError) as refused:
            refuse(admin, Topics("ader", "web.click"))
        assert said in str(refused.value)


@pytest.mark.parametrize(
    ("configured", "there", "near"),
    [
        ("ader.click", ["ader.clicks"], ["ader.clicks"]),
        ("ader.shop-click", ["ader.shop-clicks", "ader.sessions"], ["ader.shop-clicks"]),
        ("ader.session", ["ader.sessions", "ader.sessionizer-state"], []),
        (
            "ader.click",
            ["ades.click", "ader.clicks", "__ader.clicks"],
            ["ader.clicks", "ades.click"],
        ),
        ("web.clikcs", ["web.clicks", "web.clocks"], ["web.clicks", "web.clocks"]),
    ],
)
def test_names_of_the_own_prefix_are_near_and_come_first(
    configured: str, there: list[str], near: list[str]
) -> None:
    assert near_names(Topics("ader", configured), there) == near


PREFIXES = st.text("abcdef0123456789-", min_size=4, max_size=20)


@given(PREFIXES, st.lists(PREFIXES, max_size=20), st.data())
def test_a_letter_that_is_missing_hides_no_name_of_the_own_prefix(
    prefix: str, others: list[str], data: st.DataObject
) -> None:
    right = f"{prefix}.clicks"
    left_out = data.draw(st.integers(len(prefix) + 1, len(right) - 1))
    wrong = right[:left_out] + right[left_out + 1 :]
    cluster_ = [right, *(f"{other}.clicks" for other in others), f"{prefix}.sessions"]
    assert near_names(Topics(prefix, wrong), cluster_)[0] == right


# --- adding replicas

BROKERS = st.sets(st.integers(1, 20), min_size=1, max_size=8)


@given(st.data())
def test_replicas_are_added_to_what_is_there_and_to_the_least_busy_brokers(data) -> None:
    brokers = data.draw(BROKERS)
    kept = [
        PartitionReplicas("t", partition, tuple(on), data.draw(st.integers(1, 5)))
        for partition, on in enumerate(
            data.draw(st.lists(st.lists(st.sampled_from([*brokers]), unique=True, min_size=1)))
        )
    ]
    wider = spread(kept, brokers)
    for before, after in zip(kept, wider, strict=True):
        assert after.brokers[: len(before.brokers)] == before.brokers
        assert len({*after.brokers}) == len(after.brokers)
        assert {*after.brokers} <= brokers
        wanted = min(max(before.needed, len(before.brokers)), len(brokers))
        assert len(after.brokers) == wanted
    assert not [each for each in too_few(wider) if len(each.brokers) < len(brokers)]


def test_new_replicas_are_spread_evenly() -> None:
    kept = [PartitionReplicas("t", partition, (1,), 2) for partition in range(12)]
    added = [each.brokers[1] for each in spread(kept, [1, 2, 3, 4])]
    assert {broker: added.count(broker) for broker in added} == {2: 4, 3: 4, 4: 4}


def test_the_plan_is_what_kafkas_tool_takes() -> None:
    few = replicas_of(cluster(3, t=[2]), ["t", "not there"], 3)
    assert reassignment(few, [1, 2, 3]) == {
        "version": 1,
        "partitions": [{"topic": "t", "partition": 0, "replicas": [2, 1, 3]}],
    }
