"""Kills, freezes, cuts off and replaces sessionizers and their broker; no session may change.

``python -m tests.chaos.sessionizers --kills 200`` starts a Kafka of its own and says in the end how
many sessions the clicks come to, worked out without the code under test, and how many of them were
lost, doubled or wrong. ``--seed`` repeats a run's clicks and actions, ``--protocol consumer`` and
``--static`` choose how the workers share the partitions, ``--out`` adds the report to a file.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import MemberDescription
from platformdirs import user_cache_path

from ader_stream.local_kafka import Guard
from ader_stream.local_kafka.ports import free_port
from ader_stream.stream.kafka.reading import REQUEST_TIMEOUT, offset_range
from ader_stream.testing.brokers import RealKafka, from_java
from ader_stream.types import Click
from tests.chaos.differences import Differences, compare
from tests.chaos.ways import Way, listeners
from tests.integration.simulated import expected_sessions, simulated_clicks
from tests.integration.system import POLL_SECONDS, System, Worker

BLOCKS = 3
MOST_WORKERS = 3
PAUSE_SECONDS = (0.2, 2.0)
FREEZE_SECONDS = (1.0, 9.0)
"""Some end before the session timeout of 6 s has passed, some when others have taken over."""

CUT_SECONDS = (5.0, 12.0)
"""The same for a worker that runs on and does not reach its broker."""

STALL_SECONDS = 8.0
"""A broker that answers nobody for longer than the session timeout."""

SOONER = {
    "group.consumer.session.timeout.ms": "6000",
    "group.consumer.min.session.timeout.ms": "6000",
    "group.consumer.heartbeat.interval.ms": "2000",
    "group.consumer.min.heartbeat.interval.ms": "2000",
}
"""With the `consumer` protocol the broker gives a worker up, by default after 45 s."""

MEASURED_KILLS = 5
"""The recovery from every so many kills is waited for and timed: that of the first, the sixth …"""


@dataclass
class Report:
    """What was done, and what became of the sessions.

    Parameters
    ----------
    protocol, static
        How the workers share the partitions.
    actions
        Kind → how often it was done.
    recovery_seconds
        From a kill to the commit of all that was sent after it, where that was waited for.
    eviction_seconds
        From those kills to the time at which the group gave up, or replaced, the one killed.
    seconds
        The whole run.
    sessions
        What has become of them.
    """

    seed: int
    protocol: str = "classic"
    static: bool = False
    actions: dict[str, int] = field(default_factory=dict)
    recovery_seconds: list[float] = field(default_factory=list)
    eviction_seconds: list[float] = field(default_factory=list)
    seconds: float = 0.0
    sessions: Differences = field(default_factory=Differences)


class Chaos:
    """Does one thing after another to the sessionizers of a system.

    Parameters
    ----------
    ways
        One for each worker; none where no worker can be cut off.
    static
        Whether a worker that takes another's place takes over its membership too.
    """

    def __init__(
        self,
        system: System,
        broker: RealKafka,
        seed: int,
        ways: Sequence[Way] = (),
        *,
        static: bool = False,
    ) -> None:
        self._system = system
        self._broker = broker
        self._ways = ways
        self._static = static
        self._rng = random.Random(seed)
        self._running: dict[int, Worker] = {}  # by place
        self._names: dict[int, str] = {}  # what the group knows the workers by
        self._away: dict[int, float] = {}  # place → until when its worker is frozen or cut off
        self.report = Report(seed, system.settings.kafka.group_protocol, static)
        self._actions: Counter[str] = Counter()

    def run(self, clicks: Sequence[Click], kills: int) -> Report:
        """Send the clicks piece by piece, and do something to a worker after each."""
        began_at = time.monotonic()
        self._start()
        self._start()
        self._system.wait_until_holding(*self._running.values())
        todo = self._todo(kills)
        size = -(-len(clicks) // len(todo))
        for number, action in enumerate(todo):
            piece = clicks[number * size : (number + 1) * size]
            self._bring_back()
            self._replace_who_gave_up()
            if action == "kill" and self._actions["kill"] % MEASURED_KILLS == 0:
                self._measure_kill(piece)
            else:
                self._system.send(piece)
                getattr(self, f"_{action}")()
            self._actions[action] += 1
            time.sleep(self._rng.uniform(*PAUSE_SECONDS))
        self._bring_back(everyone=True)
        self._finish(clicks)
        self.report.seconds = round(time.monotonic() - began_at)
        return self.report

    def _todo(self, kills: int) -> list[str]:
        others = {"freeze": kills // 3, "leave": kills // 6, "join": kills // 6}
        others["cut"] = kills // 6 if self._ways else 0
        todo = ["kill"] * kills + [name for name, times in others.items() for _ in range(times)]
        todo += ["restart", "stall"] * (1 + kills // 40)
        self._rng.shuffle(todo)
        return todo

    # --- what is done to them

    def _kill(self) -> None:
        self._take_one().kill()
        self._start()

    def _measure_kill(self, clicks: Sequence[Click]) -> None:
        """Kill a worker that holds partitions, and time the commit of what comes after."""
        self._bring_back(everyone=True)
        found: dict[int, str] = {}

        def find() -> dict[int, str]:
            found.update(self._holders())
            return found

        self._system.wait_until(find, "a worker holds partitions")
        place = self._rng.choice(sorted(found))
        self._running.pop(place).kill()
        killed_at = time.monotonic()
        self._start()
        self._system.send(clicks)
        self._measure_recovery(found[place], killed_at)

    def _freeze(self) -> None:
        place = self._choose_place()
        if place not in self._away:
            self._running[place].signal(signal.SIGSTOP)
            self._away[place] = time.monotonic() + self._rng.uniform(*FREEZE_SECONDS)

    def _cut(self) -> None:
        place = self._choose_place()
        if place not in self._away and self._running[place].has_partitions():
            self._ways[place].cut()
            self._away[place] = time.monotonic() + self._rng.uniform(*CUT_SECONDS)

    def _leave(self) -> None:
        worker = self._take_one()
        worker.signal(signal.SIGCONT)
        worker.terminate()
        self._start()

    def _join(self) -> None:
        if len(self._running) == MOST_WORKERS:
            self._take_one().kill()
        self._start()

    def _restart(self) -> None:
        self._broker.restart()

    def _stall(self) -> None:
        self._broker.freeze()
        time.sleep(STALL_SECONDS)
        self._broker.thaw()

    # --- helpers of these

    def _start(self) -> None:
        place = next(place for place in range(MOST_WORKERS) if place not in self._running)
        own = f"worker-{len(self._system.workers)}"
        properties = {"client.id": own}
        if self._static:
            properties["group.instance.id"] = own = f"place-{place}"
        self._names[place] = own
        kafka: dict[str, object] = {"librdkafka": properties}
        if self._ways:
            self._ways[place].correct()
            kafka["bootstrap_servers"] = self._ways[place].address
        self._running[place] = self._system.start("sessionizer", kafka=kafka)

    def _replace_who_gave_up(self) -> bool:
        """Do what an orchestrator does: tell whether there was nobody to replace."""
        gone = {p: w for p, w in self._running.items() if w.has_died() and gave_up(w)}
        for place, worker in gone.items():
            worker.may_end = True
            del self._running[place]
            self._start()
        return not gone

    def _choose_place(self) -> int:
        return self._rng.choice(sorted(self._running))

    def _take_one(self) -> Worker:
        place = self._choose_place()
        self._away.pop(place, None)
        return self._running.pop(place)

    def _bring_back(self, *, everyone: bool = False) -> None:
        for place, until in list(self._away.items()):
            if everyone or time.monotonic() >= until:
                self._running[place].signal(signal.SIGCONT)
                if self._ways:
                    self._ways[place].correct()
                del self._away[place]

    def _measure_recovery(self, member: str, killed_at: float) -> None:
        evicted_after: list[float] = []

        def has_recovered() -> bool:
            self._replace_who_gave_up()
            if not evicted_after and member not in {m.member_id for m in self._members().values()}:
                evicted_after.append(time.monotonic() - killed_at)
            return bool(evicted_after) and self._is_all_committed()

        self._system.wait_until(has_recovered, "all is committed after a kill")
        self.report.recovery_seconds.append(round(time.monotonic() - killed_at, 1))
        self.report.eviction_seconds.append(round(evicted_after[0], 1))

    def _holders(self) -> dict[int, str]:
        """Place → member id of the running workers that the group has given partitions."""
        self._replace_who_gave_up()
        members = self._members()
        named = {place: members.get(self._names[place]) for place in self._running}
        return {p: m.member_id for p, m in named.items() if m and m.assignment.topic_partitions}

    def _members(self) -> dict[str, MemberDescription]:
        """Name → member of the group, as the broker has them."""
        group = self._system.topics.group("sessionizer")
        admin = self._system.clients.admin()  # it must outlive its answer
        deadline = time.monotonic() + REQUEST_TIMEOUT
        while True:
            [future] = admin.describe_consumer_groups([group]).values()
            try:
                members = future.result(REQUEST_TIMEOUT).members
                break
            except KafkaException:  # the coordinator may have just begun
                if time.monotonic() > deadline:
                    raise
                time.sleep(POLL_SECONDS)
        return {member.group_instance_id or member.client_id: member for member in members}

    def _is_all_committed(self) -> bool:
        system = self._system
        committed = system.committed_offsets("sessionizer")
        ends = (
            (partition, offset_range(system.clients, system.topics.clicks, partition)[1])
            for partition in range(system.partitions)
        )
        return all(end == 0 or committed.get(partition) == end for partition, end in ends)

    def _finish(self, clicks: Sequence[Click]) -> None:
        rule = self._system.settings.block_rule
        for block in range(BLOCKS):
            self._system.end_block(block)
        self._system.wait_until(
            lambda: self._replace_who_gave_up() and self._system.clicks_in_blocks() >= len(clicks),
            "every click is in a session",
        )
        self.report.sessions = compare(expected_sessions(rule, clicks), self._system.sessions())
        self.report.actions = dict(sorted(self._actions.items()))


def gave_up(worker: Worker) -> bool:
    """Whether a worker ended for the broker's restart, as it should.

    It finds none while it starts, or loses it before it has taken partitions. Or, with static
    membership, the new broker does not know who has taken whose name since the last rebalance was
    done, and refuses those who have (`classic`).
    """
    has_begun = worker.logged("partitions taken") or worker.logged("Traceback")
    return not has_begun or bool(worker.logged("Static consumer fenced"))


def cause_chaos(
    broker: RealKafka,
    folder: Path,
    kills: int,
    seed: int,
    ways: Sequence[Way] = (),
    *,
    protocol: str = "classic",
    static: bool = False,
) -> Report:
    """Run one chaos on a Kafka that is there."""
    overrides = {"kafka": {"group_protocol": protocol}}
    with System(broker.bootstrap_servers, folder, overrides) as system:
        walks = max(200, 40 * kills)
        blocks = simulated_clicks(system.settings.block_rule, BLOCKS, walks, seed)
        clicks = [click for block in blocks for click in block]
        return Chaos(system, broker, seed, ways, static=static).run(clicks, kills)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--kills", type=int, default=200)
    arguments.add_argument("--seed", type=int, default=random.randrange(10**6))
    arguments.add_argument("--protocol", choices=["classic", "consumer"], default="classic")
    arguments.add_argument("--static", action="store_true", help="static membership")
    arguments.add_argument("--out", type=Path, help="file that the report is added to")
    chosen = arguments.parse_args()
    print(f"seed {chosen.seed}", flush=True)
    report = chaos_of_its_own(chosen)
    line = json.dumps(asdict(report))
    print(line)
    if chosen.out:
        with chosen.out.open("a") as out:
            out.write(line + "\n")
    sys.exit(not report.sessions.is_clean)


def chaos_of_its_own(chosen: argparse.Namespace) -> Report:
    """Run a chaos on a Kafka that is started for it, with a way for each worker."""
    ways = [Way() for _ in range(MOST_WORKERS)]
    port = free_port()
    with tempfile.TemporaryDirectory() as folder, Guard() as guard:
        data = Path(folder)
        properties = listeners(port, ways) | SOONER
        broker = from_java(data / "kafka", user_cache_path("ader-stream"), guard, properties, port)
        with broker as kafka:
            report = cause_chaos(
                kafka,
                data,
                chosen.kills,
                chosen.seed,
                ways,
                protocol=chosen.protocol,
                static=chosen.static,
            )
    for way in ways:
        way.close()
    return report


if __name__ == "__main__":
    main()
