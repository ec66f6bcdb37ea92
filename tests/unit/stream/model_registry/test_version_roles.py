from __future__ import annotations

from ader_stream.stream.control.commands import Command
from ader_stream.stream.model_registry.version_roles import version_roles
from tests.fakes import example_manifest


def versions(*parents: int | None, rejected: tuple[int, ...] = ()) -> dict[int, dict]:
    """Versions 1, 2, 3 … with these parents."""
    return {
        v: example_manifest(v, parent=parent, status="rejected" if v in rejected else "accepted")
        for v, parent in enumerate(parents, start=1)
    }


FOUR = versions(None, 1, 2, 3)


def rollback(version: int, newest: int) -> Command:
    return Command("rollback", version, newest)


def test_without_versions_nothing_serves_and_nothing_is_a_parent() -> None:
    found = version_roles({}, [])
    assert (found.parent, found.served, found.candidate, found.line) == (None, None, None, ())


def test_the_newest_version_serves_and_is_the_next_parent() -> None:
    found = version_roles(FOUR, [])
    assert (found.parent, found.served) == (4, 4)
    assert found.line == found.serving == (4, 3, 2, 1)


def test_a_rejected_version_neither_serves_nor_is_a_parent() -> None:
    found = version_roles(versions(None, 1, 2, 2, rejected=(3,)), [])
    assert found.line == (4, 2, 1)
    assert version_roles(versions(None, 1, 1, rejected=(2, 3)), []).parent == 1


def test_a_rollback_changes_what_serves_and_what_is_trained_from() -> None:
    found = version_roles(FOUR, [rollback(2, 4)])
    assert (found.parent, found.served, found.line) == (2, 2, (2, 1))


def test_after_a_rollback_its_descendants_serve() -> None:
    later = versions(None, 1, 2, 3, 2, 5)
    assert version_roles(later, [rollback(2, 4)]).line == (6, 5, 2, 1)


def test_a_version_trained_from_what_was_rolled_back_meanwhile_does_not_serve() -> None:
    raced = versions(None, 1, 2, 3, 4)
    assert version_roles(raced, [rollback(2, 4)]).served == 2
    assert version_roles(raced | {6: example_manifest(6, parent=2)}, [rollback(2, 4)]).served == 6
    assert version_roles(raced | {6: example_manifest(6, parent=5)}, [rollback(2, 4)]).served == 2


def test_the_last_rollback_counts_be_it_to_what_an_earlier_one_has_passed_over() -> None:
    found = version_roles(versions(None, 1, 2, 3, 2), [rollback(2, 4), rollback(4, 5)])
    assert found.line == (4, 3, 2, 1)


def test_a_pin_holds_what_serves_while_training_continues() -> None:
    found = version_roles(FOUR, [Command("pin", 2)])
    assert (found.parent, found.served, found.candidate) == (4, 2, None)
    assert found.serving == (2, 1)


def test_a_canary_is_the_newest_version_beside_the_pinned_one() -> None:
    found = version_roles(FOUR, [Command("pin", 3, share=0.25)])
    assert (found.served, found.candidate, found.share) == (3, 4, 0.25)
    assert version_roles(FOUR, [Command("pin", 4, share=0.25)]).candidate is None


def test_a_fallback_ends_the_canary_of_one_version_until_the_next_one() -> None:
    pin, fallback = Command("pin", 3, share=0.25), Command("fallback", 4, stable=3)
    found = version_roles(FOUR, [pin, fallback])
    assert (found.served, found.candidate, found.share, found.parent) == (3, None, 0.0, 4)
    assert found.fallen == 4
    found = version_roles(versions(None, 1, 2, 3, 4), [pin, fallback])
    assert (found.served, found.candidate, found.share) == (3, 5, 0.25)


def test_a_fallback_overrules_nothing_that_was_asked_before_or_after_it() -> None:
    pin, fallback = Command("pin", 3, share=0.25), Command("fallback", 4, stable=3)
    assert version_roles(FOUR, [pin, Command("promote", 4), fallback]).served == 4
    assert version_roles(FOUR, [pin, fallback, Command("promote", 4)]).served == 4
    again = Command("pin", 3, share=0.5)
    assert version_roles(FOUR, [pin, fallback, again]).candidate == 4


def test_unpin_and_promote_let_the_newest_serve() -> None:
    pin = Command("pin", 2, share=0.5)
    for end in ("unpin", "promote"):
        found = version_roles(FOUR, [pin, Command(end)])
        assert (found.served, found.candidate, found.share) == (4, None, 0.0)
    assert version_roles(FOUR, [Command("unpin"), pin]).served == 2


def test_a_rollback_ends_a_pin_and_a_later_pin_leaves_the_parent_alone() -> None:
    pin = Command("pin", 4)
    assert version_roles(FOUR, [pin, rollback(1, 4)]).served == 1
    found = version_roles(FOUR, [rollback(1, 4), pin])
    assert (found.served, found.parent) == (4, 1)


def test_a_pin_or_rollback_to_what_is_gone_or_rejected_counts_for_nothing() -> None:
    few = versions(None, 1, 2, rejected=(2,))
    for version in (2, 9):
        assert version_roles(few, [Command("pin", version)]).served == 3
        assert version_roles(few, [rollback(version, 3)]).parent == 3


def test_the_line_ends_where_versions_were_pruned() -> None:
    assert version_roles({v: FOUR[v] for v in (3, 4)}, []).line == (4, 3)
