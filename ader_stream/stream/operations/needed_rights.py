"""The fewest rights with which each worker and each command can run.

It is one table: ``ader-stream rights`` prints it, ``doctor`` and every start check it, and tests
grant it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from ader_stream.stream.kafka.clients import KafkaClients
from ader_stream.stream.kafka.rights import (
    CLUSTER,
    READ_CONFIGS,
    Right,
    find_missing_rights,
    principal_of,
    require_rights,
)
from ader_stream.stream.kafka.transactional_ids import may_write
from ader_stream.stream.topics.topics import Topics

OLD_BROKERS = "brokers are older than 2.8"
START_LATEST = "clicks.start is latest"
LETTERS_KEPT = "refused clicks are read again"
PARTITIONS_ADDED = "the clicks topic is given partitions"


@dataclass(frozen=True)
class Uses:
    """Features that settings switch on or off.

    Parameters
    ----------
    idle
        Idle partitions follow the others.
    recommendations
        Recommendations are written to their topic.
    fallback
        Inference may end a canary.
    """

    idle: bool = True
    recommendations: bool = False
    fallback: bool = False


Level = Literal["ok", "warning", "error"]
Table = Callable[[Topics, Uses], Iterator[Right]]


def rights_of(role: str, topics: Topics, uses: Uses) -> list[Right]:
    """Return the rights of a worker or command, by its name in `ROLES`."""
    return list(ROLES[role](topics, uses))


def connect(clients: KafkaClients, role: str, topics: Topics, uses: Uses) -> list[Right]:
    """Return the rights of a role if a broker answers and the user has them.

    Raises
    ------
    UnreachableError
        If none answers.
    AuthorizationError
        Names each missing right.
    """
    clients.check_reachable()
    rights = rights_of(role, topics, uses)
    require_rights(clients, rights, role)
    return rights


def check_rights(
    clients: KafkaClients, role: str, topics: Topics, uses: Uses
) -> Iterator[tuple[Level, str, str]]:
    """Yield level, text and remedy of each missing right of a role.

    Unlike at a start, rights to transactional ids are checked, too.
    """
    rights = rights_of(role, topics, uses)
    who, servers = principal_of(clients.properties), clients.bootstrap_servers
    lacks = [(str(lack), lack.needed) for lack in find_missing_rights(clients.admin(), rights)]
    for right in rights:
        if right.resource == "TransactionalId":
            name = (right.instances or (right.name,))[0]
            allowed = may_write(clients, name, topics.group(role))
            if allowed is None:
                text = f"{right}: not checked, because the check might fence a running {role}"
                yield "warning", text, f"grant the other rights, stop the {role}, and check again"
            elif not allowed:
                lacks.append((str(right), right))
    for text, right in lacks:
        lack = f"{role} needs {text} ({right.why}), which {who} does not have"
        yield "error", lack, right.grant(servers, who)
    if not lacks:
        yield "ok", f"{who} has the rights of the {role}", ""


def _read(topic: str, why: str) -> Right:
    return Right("Topic", topic, ("Read",), why)


def _write(topic: str, why: str) -> Right:
    return Right("Topic", topic, ("Write",), why)


def _read_and_write(topic: str, why: str) -> Right:
    return Right("Topic", topic, ("Read", "Write"), why)


def _ours(topics: Topics, *operations: str, why: str, when: str = "") -> Right:
    names = (name for name, _, _ in topics.specifications(1) if name != topics.clicks)
    return Right("Topic", f"{topics.prefix}.", operations, why, tuple(names), when)


def _describe_topics(topics: Topics) -> Iterator[Right]:
    """Yield the right to describe the topics, with which most roles start."""
    yield _ours(topics, "Describe", why="whether every topic is there, with its partitions")


def _describe_limits(topics: Topics) -> Iterator[Right]:
    """Yield the same, with the limits of records that workers write."""
    yield from _describe_topics(topics)
    yield _ours(topics, READ_CONFIGS, why="how large their records may be")


def _describe_clicks(topics: Topics) -> Iterator[Right]:
    """Yield the same for the clicks, if no other right includes it."""
    if not topics.clicks.startswith(f"{topics.prefix}."):
        yield Right("Topic", topics.clicks, ("Describe",), "how many partitions it has")


def _member(group: str, why: str) -> Iterator[Right]:
    """Yield the rights of a member that has one transactional id."""
    yield Right("Group", group, ("Read",), "membership, and the offsets that it commits")
    yield Right("TransactionalId", group, ("Write",), why)


def _member_by_partition(group: str) -> Iterator[Right]:
    """Yield the rights of a member that has a transactional id for each input partition."""
    yield Right("Group", group, ("Read",), "membership, and the offsets that it commits")
    why = "one transaction for each input partition"
    yield Right("TransactionalId", f"{group}.", ("Write",), why, (f"{group}.0",))


def _idempotent_write() -> Right:
    why = "an idempotent producer; since then, a right to write to any topic is enough"
    return Right("Cluster", CLUSTER, ("IdempotentWrite",), why, when=OLD_BROKERS)


def _growth(topics: Topics) -> Right:
    why = "our topics get as many"
    return _ours(topics, "Alter", why=why, when=PARTITIONS_ADDED)


def _sessionizer(topics: Topics, uses: Uses) -> Iterator[Right]:
    yield _read(topics.clicks, "the clicks, and the offsets in them")
    yield _read_and_write(topics.sessions, "closed sessions, block ends; whether any are there")
    yield _read_and_write(topics.sessionizer_state, "open sessions: logged, and restored")
    yield _write(topics.dead_letters, "refused clicks")
    yield _read_and_write(topics.control, "which keys are to be erased, and which rules hold")
    if uses.idle:
        yield _read_and_write(topics.watermarks, "how far the other partitions are")
    yield from _member_by_partition(topics.group("sessionizer"))
    yield from _describe_limits(topics)
    yield _growth(topics)
    yield _idempotent_write()


def _trainer(topics: Topics, _: Uses) -> Iterator[Right]:
    yield _read(topics.sessions, "the blocks to train on")
    yield _read_and_write(topics.models, "manifests")
    yield _read_and_write(topics.model_chunks, "weights and exemplars")
    yield _read(topics.control, "pins, rollbacks, versions to prune, keys to erase")
    yield from _member(topics.group("trainer"), why="a version is published as a whole")
    yield from _describe_limits(topics)
    yield from _describe_clicks(topics)
    yield Right(
        "Topic",
        topics.sessions,
        ("Delete",),
        "sessions that no version needs are deleted",
        when="versions are pruned",
    )


def _inference(topics: Topics, uses: Uses) -> Iterator[Right]:
    yield _read(topics.clicks, "the clicks, and the offsets in them")
    yield _read(topics.models, "manifests")
    yield _read(topics.model_chunks, "weights")
    if uses.fallback:
        yield _read_and_write(topics.control, "pins, rollbacks, keys to erase; canaries that end")
    else:
        yield _read(topics.control, "pins, rollbacks, which keys are to be erased")
    yield _read_and_write(topics.scores, "running scores: logged, and restored")
    yield _write(topics.serving, "which version is served here")
    if uses.recommendations:
        yield _write(topics.recommendations, "recommendations after each click")
    yield _read(topics.sessions, "decisions of the sessionizer by the clock")
    group = topics.group("sessionizer")
    yield Right("Group", group, ("Describe",), "how far the sessionizer is")
    yield from _member_by_partition(topics.group("inference"))
    yield from _describe_limits(topics)
    yield _growth(topics)
    yield _idempotent_write()


def _monitor(topics: Topics, _: Uses) -> Iterator[Right]:
    yield _read(topics.sessions, "closed sessions, block ends")
    yield _read(topics.scores, "running scores of the versions")
    yield _read(topics.models, "manifests")
    yield _read(topics.serving, "which worker serves which version")
    yield _read(topics.control, "pins, rollbacks, how blocks are cut")
    yield _read(topics.dead_letters, "refused clicks, by reason")
    yield _read(topics.watermarks, "how far the clicks are")
    yield _read_and_write(topics.monitor_state, "statistics: logged, and restored")
    yield from _member(topics.group("monitor"), why="statistics and offsets are written together")
    yield from _describe_limits(topics)
    yield from _describe_clicks(topics)


def _doctor(topics: Topics, _: Uses) -> Iterator[Right]:
    yield Right("Topic", topics.clicks, ("Read", READ_CONFIGS), "a sample, and retention")
    yield _ours(topics, "Describe", READ_CONFIGS, why="whether they are as needed")
    yield Right("Cluster", CLUSTER, (READ_CONFIGS,), "the broker's limits and time-outs")
    yield _read(topics.sessionizer_state, "whether a sessionizer could continue from it")
    yield _read(topics.scores, "the offsets of inference")
    yield _read(topics.control, "how blocks are cut")
    for worker in ("sessionizer", "inference"):
        why = "its offsets, and whether one runs"
        yield Right("Group", topics.group(worker), ("Describe",), why)


def _guess(topics: Topics, _: Uses) -> Iterator[Right]:
    yield _read(topics.clicks, "a sample")


def _topics_create(topics: Topics, _: Uses) -> Iterator[Right]:
    yield from _describe_topics(topics)
    yield from _describe_clicks(topics)
    yield _ours(topics, "Create", why="they are made", when="topics are missing")
    yield _growth(topics)


def _topics_check(topics: Topics, _: Uses) -> Iterator[Right]:
    yield _ours(topics, "Describe", READ_CONFIGS, why="whether they are as needed")
    yield Right("Topic", topics.clicks, ("Describe", READ_CONFIGS), "what its clean-up keeps")


def _topics_alter(topics: Topics, _: Uses) -> Iterator[Right]:
    yield _ours(topics, "AlterConfigs", "Describe", why="what differs is set")
    yield from _describe_clicks(topics)


def _schemas_check(topics: Topics, _: Uses) -> Iterator[Right]:
    yield _ours(topics, "Read", why="the schemas of their records")
    yield from _describe_clicks(topics)


def _replay(topics: Topics, _: Uses) -> Iterator[Right]:
    yield _write(topics.clicks, "clicks and heartbeats")
    yield _read(topics.control, "how blocks are cut")
    yield from _describe_topics(topics)
    yield _idempotent_write()


def _replay_in_blocks(topics: Topics, uses: Uses) -> Iterator[Right]:
    for topic in (topics.models, topics.serving):
        yield _read(topic, "whether the block is served")
    yield from _replay(topics, uses)


def _sessions_dump(topics: Topics, _: Uses) -> Iterator[Right]:
    yield _read(topics.sessions, "the closed sessions")
    yield from _describe_topics(topics)
    yield from _describe_clicks(topics)


def _letters(topics: Topics, _: Uses) -> Iterator[Right]:
    yield _read(topics.dead_letters, "the refused clicks")
    yield from _describe_topics(topics)
    yield from _describe_clicks(topics)


def _letters_to_replay(topics: Topics, uses: Uses) -> Iterator[Right]:
    yield _read(topics.control, "which keys are erased")
    yield from _letters(topics, uses)


def _letters_replay(topics: Topics, _: Uses) -> Iterator[Right]:
    yield _read(topics.control, "which keys are erased")
    yield _read_and_write(topics.dead_letters, "the refused clicks, and which were sent back")
    yield _write(topics.clicks, "what is sent back")
    yield _replayer(topics, "each click is sent back once")
    yield from _describe_topics(topics)


def _replayer(topics: Topics, why: str, when: str = "") -> Right:
    name = f"{topics.group('dead-letters')}.replay"
    return Right("TransactionalId", name, ("Write",), why, when=when)


def _registry(topics: Topics, _: Uses) -> Iterator[Right]:
    yield _read(topics.models, "manifests")
    yield _read(topics.control, "pins and rollbacks")
    yield from _describe_topics(topics)
    yield from _describe_clicks(topics)


def _models_show(topics: Topics, uses: Uses) -> Iterator[Right]:
    yield _read(topics.scores, "how a canary compares")
    yield from _registry(topics, uses)


def _artifacts(topics: Topics, uses: Uses) -> Iterator[Right]:
    yield _read(topics.model_chunks, "weights and exemplars")
    yield from _registry(topics, uses)


def _drift(topics: Topics, uses: Uses) -> Iterator[Right]:
    yield _read(topics.sessions, "the blocks to compare")
    yield _read(topics.scores, "recall and MRR of each version")
    yield from _artifacts(topics, uses)


def _request(topics: Topics, uses: Uses) -> Iterator[Right]:
    yield _write(topics.control, "commands to the workers")
    yield from _registry(topics, uses)
    yield _idempotent_write()


def _promote_when_better(topics: Topics, uses: Uses) -> Iterator[Right]:
    yield _read(topics.scores, "how the canary compares")
    yield from _request(topics, uses)


def _models_import(topics: Topics, uses: Uses) -> Iterator[Right]:
    for topic in (topics.models, topics.model_chunks):
        yield Right("Topic", topic, ("Write", READ_CONFIGS), "manifest and parts of version 1")
    group = topics.group("trainer")
    yield Right("TransactionalId", group, ("Write",), "a version is published as a whole")
    yield from _registry(topics, uses)


def _forget(topics: Topics, uses: Uses) -> Iterator[Right]:
    yield _write(topics.recommendations, "tombstones")
    for topic in (topics.sessions, topics.sessionizer_state, topics.dead_letters):
        yield _read(topic, "data of the key")
    yield from _request(topics, uses)


def _watermark_show(topics: Topics, _: Uses) -> Iterator[Right]:
    yield _read(topics.sessionizer_state, "the state of each partition")
    yield from _describe_topics(topics)
    yield from _describe_clicks(topics)


def _watermark_reset(topics: Topics, uses: Uses) -> Iterator[Right]:
    for topic in (topics.sessionizer_state, topics.sessions, topics.watermarks):
        yield _write(topic, "the new state of a partition")
    yield _read(topics.control, "how blocks are cut")
    group = topics.group("sessionizer")
    why = "in the name of the partition's owner"
    yield Right("TransactionalId", f"{group}.", ("Write",), why, (f"{group}.0",))
    yield from _watermark_show(topics, uses)


def _blocks_show(topics: Topics, _: Uses) -> Iterator[Right]:
    yield _read(topics.control, "how blocks are cut")
    yield from _describe_topics(topics)
    yield from _describe_clicks(topics)


def _blocks_change(topics: Topics, uses: Uses) -> Iterator[Right]:
    for topic in (topics.sessionizer_state, topics.scores):
        yield _read(topic, "which blocks are known")
    for worker in ("sessionizer", "inference"):
        yield Right("Group", topics.group(worker), ("Describe",), "its offsets and members")
    yield from _request(topics, uses)


def _offsets_show(topics: Topics, _: Uses) -> Iterator[Right]:
    yield _read(topics.sessionizer_state, "the sessionizer's offsets")
    yield _read(topics.scores, "the offsets of inference")
    for worker in ("sessionizer", "inference"):
        yield Right("Group", topics.group(worker), ("Describe",), "the offsets that it commits")
    yield from _describe_topics(topics)
    yield from _describe_clicks(topics)


def _offsets_move(topics: Topics, _: Uses) -> Iterator[Right]:
    yield _read(topics.clicks, "the offsets in them")
    yield _write(topics.sessions, "what was skipped")
    for topic in (topics.sessionizer_state, topics.scores):
        yield _read_and_write(topic, "where a worker continues")
    for worker in ("sessionizer", "inference"):
        yield from _member_by_partition(topics.group(worker))
    yield from _describe_topics(topics)


def _reset(topics: Topics, _: Uses) -> Iterator[Right]:
    operations = ("Create", "Delete", READ_CONFIGS)
    yield _ours(topics, *operations, why="they are deleted, and created again unchanged")
    for worker in ("sessionizer", "inference"):
        group = topics.group(worker)
        yield Right("Group", group, ("Delete",), "its offsets are deleted")
        why = "workers that still run are stopped"
        yield Right("TransactionalId", f"{group}.", ("Write",), why, (f"{group}.0",))
        yield Right("Group", group, ("Read",), "it starts with the first click", when=START_LATEST)
    yield Right("Topic", topics.clicks, ("Read",), "where they start", when=START_LATEST)
    for worker in ("trainer", "monitor"):
        yield Right("Group", topics.group(worker), ("Describe",), "whether one runs")
    yield _read_and_write(topics.control, "commands are deleted, requests to erase keys stay")
    yield _read(topics.dead_letters, "which refused clicks are read again")
    why = "those are not sent back any more"
    yield Right("Topic", topics.dead_letters, ("Write",), why, when=LETTERS_KEPT)
    yield _replayer(topics, why, LETTERS_KEPT)
    yield from _describe_clicks(topics)


WORKERS: Mapping[str, Table] = {
    "sessionizer": _sessionizer,
    "trainer": _trainer,
    "inference": _inference,
    "monitor": _monitor,
}

COMMANDS: Mapping[str, Table] = {
    "doctor": _doctor,
    "guess": _guess,
    "blocks show": _blocks_show,
    "blocks change": _blocks_change,
    "topics create": _topics_create,
    "topics check": _topics_check,
    "topics alter": _topics_alter,
    "schemas check": _schemas_check,
    "replay": _replay,
    "replay --pace block": _replay_in_blocks,
    "sessions dump": _sessions_dump,
    "dead-letters list": _letters,
    "dead-letters show": _letters,
    "dead-letters replay --dry-run": _letters_to_replay,
    "dead-letters replay": _letters_replay,
    **dict.fromkeys(("models list", "models diff"), _registry),
    "models show": _models_show,
    **dict.fromkeys(("models verify", "models export"), _artifacts),
    **dict.fromkeys(
        ("models pin", "models unpin", "models promote", "models rollback", "models prune"),
        _request,
    ),
    "models promote --when-better": _promote_when_better,
    "models import": _models_import,
    "drift": _drift,
    "forget": _forget,
    "offsets show": _offsets_show,
    "offsets skip": _offsets_move,
    "offsets restore": _offsets_move,
    "reset": _reset,
    "watermark show": _watermark_show,
    "watermark reset": _watermark_reset,
}

ROLES: Mapping[str, Table] = {**WORKERS, **COMMANDS}
"""Name of a worker, or of a command as it is typed → its rights."""
