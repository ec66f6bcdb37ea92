"""A running ader-stream for the tests of those who use it: clicks in, recommendations out."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ader_stream.errors import InputError
from ader_stream.stream.kafka.reading import offset_ranges, read_range
from ader_stream.stream.operations.replay import Replayer
from ader_stream.stream.topics.topics import Topics
from ader_stream.testing.brokers import RealKafka
from ader_stream.testing.system import System, merged
from ader_stream.testing.worker import Worker
from ader_stream.types import Click

if TYPE_CHECKING:
    from ader_stream.testing.fake_trainer import FakeTrainer

TrainerKind = Literal["fake", "real"]

BLOCKS_AGO = 100
"""Event time begins so many blocks ago: no test reaches the future."""

STEP_MS = 100
"""Event time between two clicks that have none of their own."""

DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "blocks": {"length": "10s"},
    "sessions": {"gap": "5s"},
    "sessionizer": {"idle_timeout": "off"},
    "inference": {"recommendations": True},
    "trainer": {
        "overrides": {"hidden": 16, "maxlen": 10, "max_epochs": 3, "exemplars": 300},
        "threads": 1,
        "when_undecided": "accept",
    },
}


class RunningSystem:
    """Workers on topics of their own, in blocks of ten seconds of event time.

    The sessionizer runs from the beginning. Inference and the trainer start when they are first
    needed: a test of sessions alone loads no torch. Clicks without a time get one: event time is
    the test's, and no test waits for it to pass.

    Parameters
    ----------
    kafka
        The broker.
    folder
        For the workers' logs.
    settings
        Settings that differ from `DEFAULTS`: group → name → value.
    trainer
        ``fake``: each complete block gives an untrained version at once (`fake_trainer`).
        ``real``: the trainer's own process trains a small model.

    Attributes
    ----------
    system
        The workers and topics.
    now
        Event time of the next click, ms.
    """

    def __init__(
        self,
        kafka: RealKafka,
        folder: Path,
        settings: Mapping[str, Mapping[str, Any]],
        trainer: TrainerKind = "fake",
    ) -> None:
        if trainer not in ("fake", "real"):
            raise InputError(f"ader_trainer = {trainer!r}: expected 'fake' or 'real'")
        self._kafka = kafka
        self._trainer = trainer
        self.system = System(kafka.bootstrap_servers, folder, merged(DEFAULTS, settings))
        self._blocks = self.system.settings.block_rule
        self.now = self._blocks.start(self._blocks.block_of(time.time_ns() // 10**6) - BLOCKS_AGO)

    def __enter__(self) -> RunningSystem:
        self.system.__enter__()
        try:
            self.system.wait_until_holding(self.system.start("sessionizer"))
        except BaseException:
            self.system.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if "_fake" in self.__dict__:
            self._fake.close()
        self.system.__exit__()

    @property
    def bootstrap_servers(self) -> str:
        """Return the broker's address."""
        return self.system.bootstrap_servers

    @property
    def topics(self) -> Topics:
        """Return the names of the topics: `clicks` is for your producer."""
        return self.system.topics

    # --- clicks

    def send_clicks(self, clicks: Iterable[tuple[str, str] | Click]) -> None:
        """Write clicks in the format of the settings; all are acknowledged on return.

        Parameters
        ----------
        clicks
            Pairs of session key and item id, which get the test's event time in their order, or
            `Click` with a time in ms. Clicks of your own producer count just as well.

        Raises
        ------
        SettingsError
            If only your own producer can write the format.
        """
        self._replayer.send([self._timed(click) for click in clicks])

    def end_block(self) -> None:
        """End the open block on every partition; the next click is in the next block."""
        block = self._blocks.block_of(self.now)
        self.system.end_block(block)
        self.now = self._blocks.start(block + 1)

    # --- what becomes of them

    def sessions_of(self, key: str) -> list[tuple[str, ...]]:
        """Return the items of each closed session of a key, in order, once all clicks are read.

        A session closes with the end of its block, or with a click after its gap.
        """
        self._wait_until_read_by("sessionizer")
        rows = [row for row in self.system.sessions() if row.key == key]
        return [row.items for row in sorted(rows, key=lambda row: row.first_time)]

    def wait_for_version(self, newer_than: int = 0) -> int:
        """Wait until a version newer than this one serves all partitions, and return its number.

        The first version needs a block with a session (`end_block`).
        """
        _ = self._inference
        step = self._fake.publish_next if self._trainer == "fake" else self._start_trainer
        self.system.wait_until(
            lambda: (step(), self._served() > newer_than)[1],
            f"a version newer than {newer_than} serves all partitions",
        )
        return self._served()

    def recommendations_for(self, session: str | Sequence[str], k: int = 20) -> list[str]:
        """Return the items that inference recommends, best first, once it has read all clicks.

        Parameters
        ----------
        session
            Key of an open session, or a list of items.
        k
            Number of items.

        Raises
        ------
        InputError
            With inference's own words: there is no version yet, or no such session is open.
        """
        inference = self._inference
        self._wait_until_read_by("inference")
        if isinstance(session, str):
            answer = inference.get("/recommend", session=session, k=str(k))
        else:
            answer = inference.post("/recommend", {"items": [*session], "k": k})
        if answer.is_error:
            raise InputError(f"recommendations_for({session!r:.80}): {answer.json()['error']}")
        return [ranked["item"] for ranked in answer.json()["items"]]

    # --- a broker that fails

    @contextmanager
    def break_broker(self) -> Iterator[None]:
        """Stop the broker from answering within the ``with`` block; it continues after it."""
        self._kafka.freeze()
        try:
            yield
        finally:
            self._kafka.thaw()

    def restart_broker(self) -> None:
        """Stop the broker, start it again with the same data, and return when it answers."""
        self._kafka.restart()

    # --- within

    def _timed(self, click: tuple[str, str] | Click) -> Click:
        if isinstance(click, Click):
            self.now = max(self.now, click.time)
            return click
        key, item = click
        timed = Click(key, item, self.now)
        self.now += STEP_MS
        return timed

    @cached_property
    def _replayer(self) -> Replayer:
        system = self.system
        format_ = system.settings.click_format
        return Replayer(system.clients, system.topics, self._blocks, format_, None)

    @cached_property
    def _fake(self) -> FakeTrainer:
        from ader_stream.testing.fake_trainer import FakeTrainer  # noqa: PLC0415 - loads torch

        return FakeTrainer(self.system.settings)

    @cached_property
    def _inference(self) -> Worker:
        worker = self.system.start("inference")
        self.system.wait_until_holding(worker)
        return worker

    def _start_trainer(self) -> None:
        if not any(worker.name == "trainer" for worker in self.system.workers):
            self.system.start("trainer")

    def _served(self) -> int:
        """Return the version that serves every partition; 0 before the first."""
        newest: dict[int, int] = {}
        for record in self.system.view.serving.values():
            for held in record["partitions"]:
                partition, version = held["partition"], record["version"] or 0
                newest[partition] = max(newest.get(partition, 0), version)
        return min(newest.values()) if len(newest) == self.system.partitions else 0

    def _wait_until_read_by(self, worker: str) -> None:
        """Wait until a worker has committed every record that is in the clicks topic now."""
        clients, clicks = self.system.clients, self.topics.clicks
        ends = offset_ranges(clients, clicks, range(self.system.partitions))

        def is_read() -> bool:
            committed = self.system.committed_offsets(worker)
            left = {p: (committed.get(p, first), end) for p, (first, end) in ends.items()}
            # Behind the last commit of a producer's transaction is a marker, which nobody reads.
            unread = (next(read_range(clients, clicks, p, *span), None) for p, span in left.items())
            return all(record is None for record in unread)

        self.system.wait_until(is_read, f"the {worker} has read all clicks")
