"""The table of rights covers what there is."""

from __future__ import annotations

import click
import pytest

from ader_stream.cli.main import COMMANDS, cli
from ader_stream.stream.operations.needed_rights import ROLES, WORKERS, Uses, rights_of
from ader_stream.stream.topics.topics import Topics

TOPICS = Topics("shop", "web.clicks")
WITHOUT_A_CLUSTER = {"broker", "demo", "evaluate", "metrics", "rights", "settings", "run", "try"}
"""They ask nothing of a cluster that has rules, or are workers."""


def commands() -> list[str]:
    """Every command as it is typed."""
    found: list[str] = []
    context = click.Context(cli)
    for name in sorted(COMMANDS.keys() - WITHOUT_A_CLUSTER):
        command = cli.get_command(context, name)
        assert command is not None
        inner = command.commands if isinstance(command, click.Group) else None
        found += [f"{name} {sub}" for sub in sorted(inner)] if inner else [name]
    return found


@pytest.mark.parametrize("command", commands())
def test_every_command_has_its_rights(command: str) -> None:
    assert command in ROLES


@pytest.mark.parametrize("role", ROLES)
def test_no_right_is_named_twice(role: str) -> None:
    rights = rights_of(role, TOPICS, Uses(recommendations=True))
    single = [(r.resource, r.name, operation) for r in rights for operation in r.operations]

    assert len(single) == len(set(single))


@pytest.mark.parametrize("role", ROLES)
def test_every_right_stays_in_the_names_of_this_system(role: str) -> None:
    for right in rights_of(role, TOPICS, Uses(recommendations=True)):
        if right.resource != "Cluster":
            assert right.name == TOPICS.clicks or right.name.startswith("shop.")
            assert all(name.startswith(right.name) for name in right.instances)


@pytest.mark.parametrize("role", [role for role in ROLES if role != "guess"])
def test_every_role_may_see_every_topic_that_it_looks_for(role: str) -> None:
    seen = {
        name
        for right in rights_of(role, TOPICS, Uses())
        if right.resource == "Topic" and not right.when
        for name in right.instances or (right.name,)
    }

    assert seen == {name for name, _, _ in TOPICS.specifications(1)}


def test_a_guess_needs_to_read_the_clicks_alone() -> None:
    assert [right.name for right in rights_of("guess", TOPICS, Uses())] == [TOPICS.clicks]


def test_what_is_switched_off_needs_no_right() -> None:
    def topics(role: str, uses: Uses) -> set[str]:
        return {right.name for right in rights_of(role, TOPICS, uses)}

    assert TOPICS.watermarks not in topics("sessionizer", Uses(idle=False))
    assert TOPICS.recommendations not in topics("inference", Uses(recommendations=False))
    assert TOPICS.recommendations in topics("inference", Uses(recommendations=True))


def test_inference_writes_commands_only_where_it_may_end_a_canary() -> None:
    def operations(uses: Uses) -> list[tuple[str, ...]]:
        rights = rights_of("inference", TOPICS, uses)
        return [right.operations for right in rights if right.name == TOPICS.control]

    assert operations(Uses()) == [("Read",)]
    assert operations(Uses(fallback=True)) == [("Read", "Write")]


@pytest.mark.parametrize("role", WORKERS)
def test_no_worker_may_do_what_it_likes(role: str) -> None:
    operations = {o for right in rights_of(role, TOPICS, Uses()) for o in right.operations}

    assert not operations & {"All", "AlterConfigs", "ClusterAction"}
