"""Describe a version: everything that its manifest says about how it was made."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version as installed
from typing import Any

import torch

from ader_stream.ader.device import CPU, describe_device
from ader_stream.ader.recipes import Recipe
from ader_stream.ader.report import NOTHING_DONE, CycleReport
from ader_stream.runtime.code_version import code_version
from ader_stream.stream.blocks.feed import TrainingBlock
from ader_stream.stream.model_registry.manifest import (
    ACCEPTED,
    FORMAT,
    REJECTED,
    Manifest,
    Run,
    SessionsOffset,
    TrainingReport,
)
from ader_stream.versions.gate.measured import Measured

FREQUENT_ITEM_BYTES = 600
"""Longest id of a frequent item: a hundred of them have 60 kB, and a manifest must fit into a
record."""

LIBRARIES = ("torch", "numpy", "safetensors")


@dataclass(frozen=True)
class VersionInputs:
    """What decides a version, apart from its block and its parent.

    Parameters
    ----------
    method, recipe_name
        ader, finetune, …; the recipe's name.
    recipe
        Every hyper-parameter.
    seed
        Seed of everything random in the cycle.
    session_parameters
        How clicks became sessions and blocks.
    device
        Where it is computed (`describe_device`).
    item_retention
        See `Retention.blocks`.
    """

    method: str
    recipe_name: str
    recipe: Recipe
    seed: int
    session_parameters: Mapping[str, int] = field(default_factory=dict)
    device: str = field(default_factory=lambda: describe_device(CPU))
    item_retention: int = 0


def describe_version(
    block: TrainingBlock,
    making: VersionInputs,
    *,
    previous: int | None,
    parent: int | None,
    report: CycleReport = NOTHING_DONE,
    seconds: float = 0.0,
    gate: Measured | None = None,
    rejection: str | None = None,
) -> Manifest:
    """Return the manifest of version `previous` + 1, before its publisher adds the parts.

    Parameters
    ----------
    previous
        The newest version, accepted or rejected.
    parent
        The version that the cycle started from.
    report, seconds
        Of the update cycle.
    gate
        What was measured before publishing.
    rejection
        Why it must not be served; None if it may.
    """
    numbers, words = numbers_and_words(asdict(making.recipe))
    return Manifest(
        format=FORMAT,
        version=(previous or 0) + 1,
        parent=parent,
        predecessor=previous,
        status=REJECTED if rejection else ACCEPTED,
        rejection=rejection,
        blocks=tuple(block.blocks),
        method=making.method,
        recipe=making.recipe_name,
        hyperparameters=numbers,
        choices=words,
        seed=making.seed,
        item_retention=making.item_retention,
        cut=dict(making.session_parameters),
        frequent_items=_short(report.frequent_items),
        parts=(),
        digest="",
        report=_describe_report(report, block),
        gate=gate.report() if gate else None,
        run=_describe_run(block, making, report, seconds),
    )


def _short(items: Iterable[str]) -> tuple[str, ...]:
    """Return the items whose ids are not too long for a manifest."""
    return tuple(item for item in items if len(item.encode()) <= FREQUENT_ITEM_BYTES)


def describe_inputs(
    block: TrainingBlock, making: VersionInputs, parent: Manifest | None
) -> dict[str, object]:
    """Return everything that decides the result of an update cycle, in plain values.

    The hash of the sessions is one of them: the sessions of erased keys are left out of it.
    """
    return {
        **asdict(making),
        "parent": parent.digest if parent else None,
        "blocks": list(block.blocks),
        "offsets": [asdict(place) for place in _describe_offsets(block)],
        "sessions": _hash_sessions(block),
        "earlier": _hash_sessions(block.earlier) if block.earlier else None,
        "code_version": code_version(),
        "libraries": _libraries(),
        "threads": torch.get_num_threads(),
    }


def _hash_sessions(block: TrainingBlock) -> str:
    sessions = hashlib.sha256()
    for items in block.sessions.items:
        sessions.update(json.dumps(items).encode())
    return sessions.hexdigest()


def numbers_and_words(fields: Mapping[str, Any]) -> tuple[dict[str, float], dict[str, str]]:
    """Separate hyper-parameters into numbers and everything else.

    >>> numbers_and_words({"hidden": 150, "output_precision": "bfloat16"})
    ({'hidden': 150.0}, {'output_precision': 'bfloat16'})
    """
    numbers = {name: float(v) for name, v in fields.items() if isinstance(v, int | float)}
    return numbers, {name: str(v) for name, v in fields.items() if name not in numbers}


def _describe_report(report: CycleReport, block: TrainingBlock) -> TrainingReport:
    return TrainingReport(
        epochs=report.epochs,
        best_epoch=report.best_epoch,
        losses=tuple(report.losses),
        validation_recall20=tuple(report.validation),
        adaptive_weight=report.adaptive_weight,
        exemplars=report.exemplars,
        sessions=len(block.sessions),
        clicks=block.sessions.items.clicks,
        train_samples=report.train_samples,
        validation_samples=report.validation_samples,
        items=report.items,
        new_items=report.new_items,
        left_items=report.left_items,
        recall_at_risk=report.recall_at_risk,
        is_rebuilt=report.is_rebuilt,
        earlier_sessions=report.earlier_sessions,
    )


def _describe_run(
    block: TrainingBlock, making: VersionInputs, report: CycleReport, seconds: float
) -> Run:
    is_trained = block.sessions and not block.is_unread
    return Run(
        offsets=_describe_offsets(block),
        places=(),
        published_at=0,
        train_seconds=seconds,
        samples_per_second=report.samples_per_second,
        herding_seconds=report.herding_seconds,
        code_version=code_version(),
        libraries=_libraries(),
        device=making.device,
        threads=torch.get_num_threads(),
        skipped_sessions=block.skipped,
        sessions_topic_id=block.topic_id,
        first_time=int(block.sessions.first.min()) if is_trained else None,
        last_time=int(block.sessions.last.max()) if is_trained else None,
    )


def _describe_offsets(block: TrainingBlock) -> tuple[SessionsOffset, ...]:
    return tuple(
        SessionsOffset(
            partition=partition,
            first_offset=block.first_offsets[partition],
            next_offset=next_offset,
        )
        for partition, next_offset in sorted(block.next_offsets.items())
    )


def _libraries() -> dict[str, str]:
    """Return the versions of what computes: with others, equal inputs may give other bytes."""
    return {name: installed(name) for name in LIBRARIES} | {"python": platform.python_version()}
