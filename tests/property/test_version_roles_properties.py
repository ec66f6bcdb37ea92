from __future__ import annotations

from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from ader_stream.stream.control.commands import Command, last_of_each
from ader_stream.stream.model_registry.manifest_record import Trust
from ader_stream.stream.model_registry.pruning import prunable
from ader_stream.stream.model_registry.registry import Registry
from ader_stream.stream.model_registry.version_roles import version_roles
from tests.fakes import example_manifest

ABOUT_ONE = ("pin", "fallback", "rollback")
"""Commands that name a version."""

Log = tuple[dict[int, dict[str, Any]], list[Command]]


@st.composite
def logs(draw: st.DrawFn) -> Log:
    """What a trainer and an operator write, each seeing what the other has written before.

    Sometimes the trainer's version still has the parent from before the last command.
    """
    manifests: dict[int, dict[str, Any]] = {}
    commands: list[Command] = []
    stale = version_roles(manifests, commands).parent
    for _ in range(draw(st.integers(0, 14))):
        newest = max(manifests, default=0)
        if not newest or draw(st.booleans()):
            parent = (
                stale if draw(st.integers(0, 3)) == 0 else version_roles(manifests, commands).parent
            )
            status = draw(st.sampled_from(["accepted", "accepted", "rejected"]))
            manifests[newest + 1] = example_manifest(newest + 1, parent=parent, status=status)
            stale = version_roles(manifests, commands).parent
        else:
            name = draw(st.sampled_from(["pin", "unpin", "promote", "fallback", "rollback"]))
            version = draw(st.integers(1, newest)) if name in ABOUT_ONE else None
            share = draw(st.sampled_from([None, 0.5])) if name == "pin" else None
            asked_at = newest if name == "rollback" else None
            commands.append(Command(name, version, asked_at, share))
    return manifests, commands


@given(log=logs())
def test_compaction_of_the_commands_changes_nothing(log: Log) -> None:
    manifests, commands = log
    assert version_roles(manifests, commands) == version_roles(manifests, last_of_each(commands))


@given(log=logs())
def test_only_what_is_there_and_accepted_serves_or_is_a_parent(log: Log) -> None:
    manifests, commands = log
    found = version_roles(manifests, commands)
    shown = [*found.line, *found.serving, *([found.candidate] if found.candidate else [])]
    assert all(manifests[version].status == "accepted" for version in shown)
    assert bool(found.line) == bool(found.serving)
    assert bool(found.line) == any(m.status == "accepted" for m in manifests.values())


@given(log=logs())
def test_the_line_is_a_chain_of_parents(log: Log) -> None:
    found, manifests = version_roles(*log), log[0]
    for child, parent in zip(found.line, found.line[1:], strict=False):
        assert manifests[child].parent == parent


@given(log=logs(), data=st.data())
def test_after_a_rollback_only_its_descendants_take_over(log: Log, data: st.DataObject) -> None:
    manifests, commands = log
    accepted = [v for v, m in manifests.items() if m.status == "accepted"]
    if not accepted:
        return
    newest, target = max(manifests), data.draw(st.sampled_from(accepted))
    commands = [*commands, Command("rollback", target, newest)]
    assert (
        version_roles(manifests, commands).parent
        == version_roles(manifests, commands).served
        == target
    )
    raced = manifests | {
        newest + 1: example_manifest(newest + 1, parent=version_roles(*log).parent)
    }
    found = version_roles(raced, commands)
    assert found.parent == (newest + 1 if version_roles(*log).parent == target else target)
    child = raced | {newest + 2: example_manifest(newest + 2, parent=found.parent)}
    assert version_roles(child, commands).served == newest + 2


def rolled_back_and_pinned() -> Log:
    """Version 1 is held while three versions come of a rollback to it."""
    manifests = {1: example_manifest(1, parent=None)}
    for version in (2, 3, 4):
        manifests[version] = example_manifest(version, parent=version - 1)
    return manifests, [Command("rollback", 1, 1), Command("pin", 1)]


@given(log=logs(), keep=st.integers(2, 5))
@example(log=rolled_back_and_pinned(), keep=2)
def test_pruning_changes_neither_who_serves_nor_who_is_the_next_parent(log: Log, keep: int) -> None:
    registry = Registry(Trust())
    registry.manifests, registry.commands = dict(log[0]), log[1]
    before, doomed = registry.roles, prunable(registry, keep)
    for version in doomed:
        del registry.manifests[version]
    after = registry.roles
    assert (after.parent, after.served, after.candidate, after.share) == (
        before.parent,
        before.served,
        before.candidate,
        before.share,
    )
    assert after.line[:keep] == before.line[:keep]
    assert max(registry.manifests, default=None) == max(log[0], default=None)
    assert prunable(registry, keep) == []
    if before.parent is not None:  # and so it continues
        child = max(log[0]) + 1
        registry.manifests[child] = example_manifest(child, parent=before.parent)
        assert registry.roles.parent == child
