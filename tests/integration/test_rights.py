"""The table of rights, on a cluster that allows nothing else: enough, and each of them needed."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from ader_stream.errors import AuthorizationError
from ader_stream.settings import Settings
from ader_stream.stream.kafka.rights import Right
from ader_stream.stream.operations.needed_rights import (
    COMMANDS,
    WORKERS,
    check_rights,
    connect,
    rights_of,
)
from tests.integration.secured import SecuredKafka
from tests.integration.simulated import expected_sessions, simulated_clicks
from tests.integration.system import RawRecord, System, Worker

SEEN_SECONDS = 30.0
"""How long it may take until a broker goes by a rule."""

PARTITIONS = 2


def user_of(role: str) -> str:
    """Workers have users of their own; commands are run by an operator."""
    return role if role in WORKERS else "operator"


def settings_of(system: System, secured: SecuredKafka, role: str) -> Settings:
    kafka = system.settings.kafka.model_copy(update=secured.kafka_of(user_of(role)))
    return system.settings.model_copy(update={"kafka": kafka})


def printed(system: System, role: str) -> list[str]:
    """What ``ader-stream rights`` prints for a role."""
    principal = f"User:{user_of(role)}"
    options = ("--as", role, "--principal", principal, "--kafka-acls")
    done = system.command("rights", *options)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def line_of(right: Right, role: str) -> str:
    return right.grant("kafka:9092", f"User:{user_of(role)}")


def needed(settings: Settings, role: str) -> list[Right]:
    """Each operation of a role that is always needed, as a right of its own."""
    return [
        replace(right, operations=(operation,))
        for right in rights_of(role, settings.topics, settings.uses)
        for operation in right.operations
        if not right.when
    ]


def lacks_of(settings: Settings, role: str) -> list[str]:
    """What doctor finds to lack, a line each."""
    found = check_rights(settings.clients, role, settings.topics, settings.uses)
    return [f"{text}: {remedy}" for level, text, remedy in found if level != "ok"]


def refusal(settings: Settings, role: str) -> str:
    """What a role is told as it starts; empty if nothing."""
    try:
        connect(settings.clients, role, settings.topics, settings.uses)
    except AuthorizationError as error:
        return str(error)
    return ""


def eventually(look: Callable[[], str], right: Right | None) -> str:
    """Look until the report names a right, or, without one, is empty; return the report."""
    until = time.monotonic() + SEEN_SECONDS
    while not (
        names(right, reported) if (reported := look()) and right else not (reported or right)
    ):
        assert time.monotonic() < until, f"expected {right}, reported {reported!r}"
        time.sleep(0.1)
    return reported


def names(right: Right, reported: str) -> bool:
    """Whether a text names operation, kind and name of a resource.

    Of a topic that may not be described, a broker does not say what else is allowed there.
    """
    [operation] = right.operations
    name = re.escape(str(right).partition(" on ")[2])
    return bool(re.search(rf"\b{operation}( and \w+)? on {name}", reported))


@pytest.fixture(scope="module")
def shop(secured: SecuredKafka, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Topics of an administrator; the clicks are somebody else's, by name."""
    folder = tmp_path_factory.mktemp("shop")
    clicks = {"clicks": {"topic": f"web.{folder.name}.clicks"}}
    with System(secured.bootstrap_servers, folder, clicks, PARTITIONS) as system:
        for role in WORKERS:
            secured.grant(printed(system, role))
        for role in WORKERS:
            settings = settings_of(system, secured, role)
            eventually(lambda s=settings, r=role: "; ".join(lacks_of(s, r)), None)
        yield system


def start(system: System, secured: SecuredKafka, role: str) -> Worker:
    return system.start(role, kafka=secured.kafka_of(role))


@pytest.mark.timeout(600)
def test_with_exactly_these_rights_the_workers_do_all_their_work(
    shop: System, secured: SecuredKafka
) -> None:
    blocks = simulated_clicks(shop.settings.block_rule, blocks=2, walks=100)
    workers = [start(shop, secured, role) for role in WORKERS]
    shop.send_raw([RawRecord(b"poisoned", b"no click")])
    for block, clicks in enumerate(blocks):
        shop.send(clicks)
        shop.end_block(block)
        shop.wait_until_served(block)
    clicks = [click for block in blocks for click in block]
    shop.wait_until_scored(len(clicks))
    shop.wait_until_ready(*workers)
    for worker in workers:
        worker.terminate()

    assert {worker.wait() for worker in workers} == {0}, "\n".join(shop.log_tails())
    assert not any(worker.logged("uthoriz") for worker in workers), "\n".join(shop.log_tails())
    assert shop.sessions() == expected_sessions(shop.settings.block_rule, clicks)


@pytest.mark.parametrize("role", WORKERS)
def test_each_right_of_a_worker_that_lacks_is_named_before_anything_runs(
    shop: System, secured: SecuredKafka, role: str
) -> None:
    settings = settings_of(shop, secured, role)
    for right in needed(settings, role):
        line = line_of(right, role)
        secured.revoke([line])
        reported = eventually(lambda: "; ".join(lacks_of(settings, role)), right)
        assert f"User:{role} does not have" in reported
        assert line.partition("--add")[2] in reported
        if right.resource != "TransactionalId":  # nobody is asked for it before it is used
            assert names(right, refusal(settings, role))
        secured.grant([line])
        eventually(lambda: "; ".join(lacks_of(settings, role)), None)


@pytest.mark.parametrize("role", WORKERS)
def test_a_worker_without_its_transactional_id_ends_with_one_line(
    shop: System, secured: SecuredKafka, role: str
) -> None:
    [right] = [
        right
        for right in needed(settings_of(shop, secured, role), role)
        if right.resource == "TransactionalId"
    ]
    secured.revoke([line_of(right, role)])
    worker = start(shop, secured, role)

    assert worker.wait() == 1
    said = worker.log.read_text().splitlines()
    [line] = [line for line in said if line.startswith("ader-stream: ")]  # the client has its own
    assert names(right, line)
    assert not worker.logged("Traceback")
    secured.grant([line_of(right, role)])


@pytest.mark.parametrize("role", COMMANDS)
def test_each_right_of_a_command_that_lacks_is_named_before_it_does_anything(
    shop: System, secured: SecuredKafka, role: str
) -> None:
    settings = settings_of(shop, secured, role)
    rights = [right for right in needed(settings, role) if right.resource != "TransactionalId"]
    lines = [line_of(right, role) for right in rights]
    secured.grant(lines)
    eventually(lambda: refusal(settings, role), None)
    for right, line in zip(rights, lines, strict=True):
        secured.revoke([line])
        eventually(lambda: refusal(settings, role), right)
        secured.grant([line])
        eventually(lambda: refusal(settings, role), None)
    secured.revoke(lines)
