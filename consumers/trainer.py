"""The trainer: complete blocks in, one version of the model out for each.

One leads, others stand by; a leader on an empty machine continues from the topics alone. Run it
with ``python -m consumers.trainer`` or ``ader-stream run trainer``.
"""

from __future__ import annotations

import functools
import time
from dataclasses import asdict, replace
from pathlib import Path

import structlog
import torch

from ader_stream import metrics as m
from ader_stream.ader.artifact.parts import decode_state, encode_parts
from ader_stream.ader.artifact.state import State
from ader_stream.ader.device import chosen_device, describe_device, use_threads
from ader_stream.ader.methods import ADER, Method
from ader_stream.ader.progress import Progress
from ader_stream.ader.recipes import Recipe, overridden, recipe
from ader_stream.ader.retention import Retention
from ader_stream.ader.training.checkpoint import NOWHERE, Checkpoint, CheckpointFile
from ader_stream.errors import ArtifactError
from ader_stream.runtime.memory.allocator import give_back_freed
from ader_stream.runtime.process import Process, run_worker
from ader_stream.runtime.tracing.spans import header_of
from ader_stream.settings import Settings
from ader_stream.stream.blocks.feed import BlockFeed, TrainingBlock
from ader_stream.stream.control.rules import session_parameters_in_force
from ader_stream.stream.control.rules_log import blocks_in_force
from ader_stream.stream.exactly_once.election import Election
from ader_stream.stream.exactly_once.permission import Permission
from ader_stream.stream.groups.leadership import Leadership
from ader_stream.stream.kafka.reading import offset_range
from ader_stream.stream.model_registry.lineage import (
    TrainedBefore,
    last_block_to_retrain,
    next_offsets,
    spans_behind,
)
from ader_stream.stream.model_registry.manifest import Manifest
from ader_stream.stream.model_registry.model_log import ModelPublisher
from ader_stream.stream.model_registry.model_reader import ModelReader
from ader_stream.stream.model_registry.pruning import Pruner
from ader_stream.stream.model_registry.registry import Registry, registry_reader
from ader_stream.stream.operations.needed_rights import connect
from ader_stream.stream.telemetry.client_statistics import ClientStatistics
from ader_stream.stream.telemetry.lag import LagMetrics
from ader_stream.stream.topics.topics import check_topics, topic_id
from ader_stream.types import BlockRule
from ader_stream.versions.attempt import Watch, attempt_cycle
from ader_stream.versions.bootstrap import dataset_block
from ader_stream.versions.describe import VersionInputs, describe_inputs, describe_version
from ader_stream.versions.export import import_version, read_folder
from ader_stream.versions.gate.verdict import GateRule, WhenUndecided
from ader_stream.versions.learning.measure import NewVersion, measure_learning
from ader_stream.versions.learning.samples import EarlierSamples
from ader_stream.versions.load import load_state
from ader_stream.versions.trainer_metrics import TrainerMetrics, log_fields

log = structlog.get_logger(__name__)

METHOD = "ader"
POLL_SECONDS = 0.2


class _StopRequestedError(Exception):
    """SIGTERM came while training."""


class _InputsChangedError(Exception):
    """A command has changed the parent, or what must not be read, while training."""


def run(settings: Settings) -> None:
    """Train a version for every complete block until SIGTERM.

    Raises
    ------
    AderError
        If Kafka, the topics or the recipe are not as the settings say.
    """
    chosen = overridden(recipe(settings.trainer.recipe), settings.trainer.overrides)
    device = chosen_device(settings.trainer.device)
    settings = settings.of_worker("trainer")
    clients, topics = settings.clients, settings.topics
    rights = connect(clients, "trainer", topics, settings.uses)
    check_topics(clients.admin(), topics)
    blocks_in_force(clients, topics, settings.block_rule)  # or it is refused here
    _ = settings.trust, settings.signer  # reads the key files: a fault of theirs is refused here
    use_threads(settings.trainer.threads)
    with Process("trainer", settings) as process:
        permission = Permission(clients, "trainer", rights, process.commits)
        election = Election(
            clients.observed(ClientStatistics(process.metrics)),
            topics.models,
            topics.group("trainer"),
            permission,
            process.should_stop,
            process.metrics[m.LEADER],
        )
        process.not_ready = election.not_ready
        process.serve()
        election.run(functools.partial(_lead, settings, chosen, device, process, permission))


def _lead(
    settings: Settings,
    recipe_: Recipe,
    device: torch.device,
    process: Process,
    permission: Permission,
    leadership: Leadership,
) -> None:
    """Lead until another trainer does, or until SIGTERM."""
    try:
        _Leader(settings, recipe_, device, process, leadership, permission).lead()
    except _StopRequestedError:
        log.info("stopped in mid-cycle; the next leader trains the block")


def _version_inputs(settings: Settings, recipe_: Recipe, device: torch.device) -> VersionInputs:
    """Return how versions are made, for their manifests."""
    return VersionInputs(
        METHOD,
        settings.trainer.recipe,
        recipe_,
        settings.trainer.seed,
        settings.session_parameters,
        describe_device(device),
        settings.trainer.item_retention,
    )


def _gate_rule(settings: Settings, max_bytes: int) -> GateRule:
    """Return the rule that a version must pass, whose manifest may take so many bytes."""
    return GateRule(
        settings.trainer.max_recall_drop,
        settings.trainer.max_forgetting,
        settings.trainer.max_negative_flips,
        settings.trainer.max_embedding_drift,
        settings.trainer.min_item_coverage,
        min(settings.models.max_bytes, max_bytes),
        WhenUndecided(settings.trainer.when_undecided),
    )


class _Leader:
    """The trainer that leads: a version for every block, from the registry's parent on."""

    def __init__(
        self,
        settings: Settings,
        recipe_: Recipe,
        device: torch.device,
        process: Process,
        leadership: Leadership,
        permission: Permission,
    ) -> None:
        self._settings = settings
        self._permission = permission
        self._version_inputs = _version_inputs(settings, recipe_, device)
        self._device = device
        self._process = process
        self._shown = TrainerMetrics(process.metrics)
        self._leadership = leadership
        clients, topics = settings.clients, settings.topics
        self._publisher = ModelPublisher(
            clients,
            topics,
            settings.trainer.chunk_size,
            settings.signer,
            settings.trainer.chunk_compression,
            process.commits,
            leadership.require,
        )
        self._gate = _gate_rule(settings, self._publisher.max_bytes)
        require_leadership = functools.partial(self._require_leadership, "load")
        self._models = ModelReader(clients, topics, settings.trust, between=require_leadership)
        self._registry = Registry(settings.trust)
        self._reader = registry_reader(clients, topics, self._registry)
        keep = settings.models.keep
        self._pruner = Pruner(clients, topics, self._registry, self._publisher, keep)
        self._feed = self._open_feed()
        self._lag = LagMetrics(clients, topics.sessions, process.metrics)
        self._earlier = EarlierSamples()
        self._known: tuple[int | None, State | None] = (None, None)
        self._training_from: int | None = None
        self._training_on: TrainingBlock | None = None
        self._cleaned_at = 0
        self._checkpoint: Checkpoint = NOWHERE
        self._last_poll = 0.0
        log.info("leading", newest=_number(self._registry.newest), parent=self._parent)

    def _open_feed(self) -> BlockFeed:
        """Read sessions from where the newest version ends, if it is this topic that it was of."""
        clients, topics = self._settings.clients, self._settings.topics
        sessions_id = topic_id(clients.admin(), topics.sessions)
        trained = TrainedBefore(self._registry.manifests, sessions_id)
        if trained:
            log.info("sessions that versions were trained on are passed over", topic_id=sessions_id)
        return BlockFeed(
            clients,
            topics.sessions,
            check_topics(clients.admin(), topics),
            next_offsets(self._registry.newest, sessions_id),
            topic_id=sessions_id,
            is_trained=trained.covers if trained else None,
        )

    @property
    def _blocks(self) -> BlockRule:
        """How blocks are cut."""
        return self._registry.rules.blocks or self._settings.block_rule

    @property
    def _parent(self) -> int | None:
        """The version that the next cycle starts from."""
        return self._registry.roles.parent

    def lead(self) -> None:
        """Train and publish until SIGTERM or until another trainer leads."""
        self._permission.note_granted()
        self._process.commits.note_nothing_due()
        try:
            self._pruner.delete_orphans(self._require_leadership)
            if not self._registry.newest:
                self._warm_start()
            self._pruner.prune()
            if newest := self._registry.manifests.get(self._parent or 0):
                self._shown.show_learning(newest)
            while not self._process.should_stop():
                self._leadership.require()
                if self._reader.poll():
                    self._pruner.prune()
                self._feed.poll(POLL_SECONDS)
                self._show_feed()
                if block := self._next_block():
                    self._process_block(block)
        finally:
            self._shown.clear()
            self._publisher.close()
            self._feed.close()
            self._reader.close()

    def _next_block(self) -> TrainingBlock | None:
        """Return the block to train, if it is there."""
        return self._feed.next_block(
            self._settings.blocks.min_sessions,
            all_waiting=self._settings.trainer.join_waiting,
            last_block_to_retrain=self._last_block_to_retrain,
        )

    @property
    def _last_block_to_retrain(self) -> int | None:
        """The last block that is to be trained again, together with one more."""
        joins = self._gate.when_undecided is WhenUndecided.JOIN
        return last_block_to_retrain(self._registry.newest) if joins else None

    def _process_block(self, block: TrainingBlock) -> None:
        """Train a block that has sessions, and read them again where they are to be joined."""
        self._shown.show_passed(block)
        if not block.sessions:
            return
        self._train_and_publish(block)
        self._pruner.prune()
        give_back_freed()
        if self._last_block_to_retrain is not None:
            read, self._feed = self._feed, self._open_feed()
            read.close()

    def _warm_start(self) -> None:
        """Publish the first version that settings name, made of no block of the topic."""
        trainer = self._settings.trainer
        if trainer.bootstrap_folder:
            self._import(trainer.bootstrap_folder)
        if trainer.bootstrap_dataset:
            self._train_and_publish(self._recorded(trainer.bootstrap_dataset))

    def _train_and_publish(self, block: TrainingBlock) -> None:
        """Publish a version of the block, from the parent and without the keys of the end."""
        while True:
            span = self._process.tracing.span(
                "train", links=block.traces, blocks=block.blocks, sessions=len(block.sessions)
            )
            try:
                with span as context:
                    taken = self._without_erased(self._with_earlier_blocks(block))
                    self._publish(*self._train(taken), context)
            except _InputsChangedError as change:
                log.info("the block is trained again", reason=str(change))
                self._pruner.delete_orphans(
                    self._require_leadership
                )  # what was sent of the version
            else:
                return

    def _train(self, block: TrainingBlock) -> tuple[Manifest, State | None]:
        """Return a version's manifest, and its state unless it was rejected."""
        number, parent = self._parent, self._parent_state()
        self._training_from, self._training_on = number, block
        self._version_inputs = replace(
            self._version_inputs, session_parameters=self._session_parameters(block)
        )
        log.info("update cycle", blocks=block.blocks, sessions=len(block.sessions), parent=number)
        self._checkpoint = self._checkpoint_of(block, number)
        attempt = attempt_cycle(
            block.sessions.items,
            parent,
            self._version_inputs.recipe,
            self._version_inputs.seed,
            self._rule_of(block),
            Watch(self._show, functools.partial(self._poll, "gate"), self._checkpoint),
            self._device,
            self._method_of(block),
        )
        if attempt.state:
            self._shown.show_trained(attempt.seconds)
        manifest = describe_version(
            block.unread() if attempt.joins else block,
            self._version_inputs,
            previous=_number(self._registry.newest),
            parent=number,
            report=attempt.report,
            seconds=attempt.seconds,
            gate=attempt.measured,
            rejection=attempt.rejection,
        )
        if not attempt.rejection:
            before = self._registry.manifests.get(number or 0)
            parents_new = before.report.new_items if before and before.parent else 0
            recipe_ = self._version_inputs.recipe
            new = NewVersion.of(attempt, manifest.version, recipe_, block, parent, parents_new)
            manifest = self._with_learning(manifest, new)
        return manifest, None if attempt.joins else attempt.state

    def _with_learning(self, manifest: Manifest, new: NewVersion) -> Manifest:
        """Add what a version has forgotten and learned; an error there costs no version."""
        registry, stay = self._registry, functools.partial(self._poll, "measure")
        try:
            earlier = self._earlier.of_ancestors(
                registry.manifests, manifest.parent, self._feed, registry.erasures, stay
            )
            learning, own = measure_learning(new, earlier, stay, self._device)
        except (ArithmeticError, MemoryError, RuntimeError):
            log.exception("it is not known what a version has learned", version=manifest.version)
            return manifest
        self._earlier.keep(manifest.version, own)
        return replace(manifest, run=replace(manifest.run, learning=learning))

    def _with_earlier_blocks(self, block: TrainingBlock) -> TrainingBlock:
        """Join the parents' last blocks to one that begins a model of another architecture."""
        number, parent = self._parent, self._parent_state()
        architecture = self._version_inputs.recipe.architecture
        if number is None or parent is None or parent.architecture == architecture:
            return replace(block, earlier=None)
        blocks = self._settings.trainer.rebuild_blocks
        spans = spans_behind(self._registry.manifests, number, block.topic_id, blocks)
        earlier = self._feed.read_again(spans)
        log.warning(
            "another architecture than the parent's: a new model is trained with it as the teacher",
            parent=number,
            parents_architecture=asdict(parent.architecture),
            architecture=asdict(architecture),
            earlier_blocks=earlier.blocks,
            earlier_sessions=len(earlier.sessions),
        )
        return replace(block, earlier=earlier)

    def _method_of(self, block: TrainingBlock) -> Method:
        """Return ADER as it treats what the block does not show."""
        retention = Retention(self._version_inputs.item_retention, len(block.blocks))
        earlier = block.earlier.sessions.items if block.earlier else ()
        return replace(ADER, retention=retention, earlier=earlier)

    def _rule_of(self, block: TrainingBlock) -> GateRule:
        """Return what is asked of a version: recorded clicks have no next block to be joined to."""
        if block.next_offsets or self._gate.when_undecided is not WhenUndecided.JOIN:
            return self._gate
        return replace(self._gate, when_undecided=WhenUndecided.REJECT)

    def _session_parameters(self, block: TrainingBlock) -> dict[str, int]:
        """Return how the clicks of a block became its sessions: by the sessionizer's settings."""
        is_recorded = not block.next_offsets
        logged = {} if is_recorded else self._registry.rules.rules
        return session_parameters_in_force(
            self._settings.session_parameters, logged, self._blocks.grid_of(block.blocks[-1])
        )

    def _publish(self, manifest: Manifest, state: State | None, context: str) -> None:
        span = self._process.tracing.span(
            "publish",
            parent=context,
            version=manifest.version,
            rejection=str(manifest.rejection or ""),
        )
        with span as own:
            self._publish_traced(manifest, state, own)

    def _publish_traced(self, manifest: Manifest, state: State | None, context: str) -> None:
        """Publish a version; its manifest names the span."""
        parts = encode_parts(state) if state else {}
        # What was trained for hours is not sent to where it cannot be written.
        self._permission.wait_until_granted(self._require_leadership, self._process.should_stop)
        self._shown.show_publishing(manifest.version)
        publishing = time.perf_counter()
        published = self._publisher.publish(
            manifest,
            parts,
            self._read_all_commands,
            functools.partial(self._require_leadership, "publish"),
            header_of(context),
        )
        self._shown.show_idle()
        self._shown.show_published(published, time.perf_counter() - publishing)
        self._registry.manifests[manifest.version] = published
        self._checkpoint.remove()
        if not manifest.rejection:
            self._known = (manifest.version, state)

    def _checkpoint_of(self, block: TrainingBlock, parent: int | None) -> Checkpoint:
        """Return where the cycle of this block is left, and may have been left before."""
        if (folder := self._settings.trainer.checkpoints) is None:
            return NOWHERE
        manifest = self._registry.manifests[parent] if parent else None
        return CheckpointFile(folder, describe_inputs(block, self._version_inputs, manifest))

    def _import(self, folder: Path) -> None:
        """Publish an exported version as the first one."""
        manifest, parts = read_folder(folder, self._settings.trust)
        state = decode_state(parts)
        first = import_version(self._publisher, manifest, parts)
        self._registry.manifests[first.version] = first
        self._known = (first.version, state)
        log.info("beginning with an exported version", folder=str(folder), **log_fields(first))

    def _recorded(self, dataset: Path) -> TrainingBlock:
        """Read the data set that the first version is made of."""
        settings = self._settings
        any_time = not settings.clicks.check_times
        rules = self._blocks, settings.session_rule
        block = dataset_block(dataset, *rules, any_time=any_time)
        log.info("beginning with a data set", dataset=str(dataset), sessions=len(block.sessions))
        return block

    def _without_erased(self, block: TrainingBlock, since: int = 0) -> TrainingBlock:
        """Leave out what requests from an offset of `control` on erase."""
        self._cleaned_at = self._registry.control_offset
        kept = block.without(self._registry.erasures, since)
        if kept.erased > block.erased:
            log.info("erased sessions skipped", blocks=block.blocks, sessions=kept.erased)
        return kept

    def _parent_state(self) -> State | None:
        """Return the parent's state: the one in memory, or the log's."""
        number = self._parent
        if number != self._known[0]:
            self._known = (number, self._load(number) if number else None)
        self._shown.show_parent(number)
        return self._known[1]

    def _load(self, number: int) -> State:
        try:
            return load_state(self._models, self._registry.manifests[number])
        except ArtifactError as error:
            raise ArtifactError(
                f"the next parent cannot be used: {error}; `ader-stream models verify` says which "
                "version can be, `models rollback` continues from it",
                error.reason,
            ) from None

    def _require_leadership(self, stage: str | None = None) -> None:
        """Require that this trainer still leads, and show the stage of the work on a version.

        Raises
        ------
        FencedError
            Another trainer leads.
        _StopRequestedError
            SIGTERM has come.
        """
        if self._process.should_stop():
            raise _StopRequestedError
        if stage:
            self._shown.show_stage(stage)
        self._leadership.require()

    def _poll(self, stage: str | None = None) -> None:
        """Require that this trainer still leads; read new commands and sessions.

        Raises
        ------
        FencedError, _StopRequestedError
            As `_require_leadership` does.
        _InputsChangedError
            A rollback has changed what is trained from, or a key of the block is to be erased.
        """
        if self._process.should_stop():
            raise _StopRequestedError
        now = time.monotonic()
        if now - self._last_poll >= POLL_SECONDS:
            self._last_poll = now
            self._require_leadership(stage)
            self._feed.read()
            self._show_feed()
            if self._reader.poll():
                self._require_same_inputs()

    def _read_all_commands(self) -> int:
        """Read every command that was acknowledged so far; raises as `_poll` does.

        Returns
        -------
        int
            The offset of `control` below which all of them are known.
        """
        clients, control = self._settings.clients, self._settings.topics.control
        _, end = offset_range(clients, control, 0)
        while self._registry.control_offset < end:
            self._reader.poll(POLL_SECONDS)
            self._poll()
        self._leadership.require()
        self._require_same_inputs()
        return self._registry.control_offset

    def _require_same_inputs(self) -> None:
        if self._parent != self._training_from:
            raise _InputsChangedError(f"the parent is {self._parent} now")
        block, is_clean = self._training_on, self._cleaned_at == self._registry.control_offset
        if block and not is_clean and self._without_erased(block, self._cleaned_at) is not block:
            raise _InputsChangedError("some of its sessions are to be erased")

    def _show_feed(self) -> None:
        """Show what is to be read, and what is to be trained."""
        self._lag.show(self._feed.unread())
        self._shown.show_backlog(self._feed.waiting(), self._blocks)

    def _show(self, progress: Progress) -> None:
        """Poll, and show progress."""
        self._poll()
        self._shown.show_progress(progress)


def _number(manifest: Manifest | None) -> int | None:
    return manifest.version if manifest else None


if __name__ == "__main__":
    run_worker(run)
