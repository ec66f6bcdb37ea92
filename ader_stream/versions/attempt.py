"""One update cycle and its gate; an error that the block causes is a rejected version.

A block must not stop the trainer: an error of a cycle that its data causes becomes a rejected
version with its reason, and the next block is trained. Errors of the machine, and those that the
caller's functions raise meanwhile (its disk, Kafka, a signal), are raised.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import structlog
import torch
from torch import distributed

from ader_stream.ader.artifact.parts import state_bytes
from ader_stream.ader.artifact.state import State
from ader_stream.ader.cycle import train_cycle
from ader_stream.ader.data.dataset import Samples, Sessions
from ader_stream.ader.device import CPU
from ader_stream.ader.distributed import ProcessGroup
from ader_stream.ader.methods import ADER, Method
from ader_stream.ader.progress import Progress
from ader_stream.ader.recipes import Recipe
from ader_stream.ader.report import NOTHING_DONE, CycleReport
from ader_stream.ader.training.checkpoint import NOWHERE, Checkpoint
from ader_stream.errors import AderError, TrainingError
from ader_stream.versions.gate.measured import Measured
from ader_stream.versions.gate.verdict import GateRule, judge, measure, validation_samples

log = structlog.get_logger(__name__)

MACHINES_ERRORS = (
    AderError,
    MemoryError,
    OSError,
    torch.OutOfMemoryError,
    distributed.DistError,
)
"""Errors that no block causes: no memory, no disk, no connection, settings that contradict the
parent. Every other block would fail with them as well."""

MACHINES_WORDS = ("allocate memory", "out of memory", "CUDA", "CUBLAS", "NCCL", "gloo")
"""Words in the message of a plain RuntimeError by which torch reports some of these errors."""


@dataclass(frozen=True, eq=False)
class Attempt:
    """The outcome of an update cycle and its gate.

    Parameters
    ----------
    rejection
        Why the version must not be served; None if it may.
    state, report
        Of the update cycle; no state where it failed.
    measured
        By the gate; None where the cycle failed.
    seconds
        Duration of the cycle.
    joins
        Whether the sessions are to be trained again together with the next block.
    held_out
        Sub-sequences that the version was not trained on; None where the cycle failed.
    """

    rejection: str | None
    state: State | None = None
    report: CycleReport = NOTHING_DONE
    measured: Measured | None = None
    seconds: float = 0.0
    joins: bool = False
    held_out: Samples | None = None


@dataclass(frozen=True)
class Watch:
    """The caller's functions during a cycle and its gate; an error in one of them ends both.

    Parameters
    ----------
    on_progress
        See `train_cycle`.
    between
        Called after every chunk that the gate ranks.
    checkpoint
        See `train_cycle`.
    """

    on_progress: Callable[[Progress], None]
    between: Callable[[], None]
    checkpoint: Checkpoint = NOWHERE


class _CallersError(BaseException):
    """Carries an error of the caller's functions through the cycle, which did not cause it."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


def attempt_cycle(
    sessions: Sessions,
    parent: State | None,
    recipe: Recipe,
    seed: int,
    rule: GateRule,
    watch: Watch,
    device: torch.device = CPU,
    method: Method = ADER,
) -> Attempt:
    """Train a version on a block, and let the gate judge it; see `train_cycle`, `judge`.

    Raises
    ------
    Exception
        Of the machine, or raised by `watch`; an error of the block is the attempt's `rejection`.
    """
    tell, between = _passing(watch.on_progress), _passing(watch.between)
    began = time.perf_counter()
    try:
        with _block_errors():
            result = train_cycle(
                sessions,
                parent,
                recipe,
                seed,
                tell,
                method,
                ProcessGroup(device=device),
                watch.checkpoint,
            )
            seconds = time.perf_counter() - began
            state, report = result.state, result.report
            validation = validation_samples(result.held_out, sessions, state, between)
            left, held_out = report.left_items, len(result.held_out) > 0
            measured = measure(validation, parent, state, between, device, left, held_out=held_out)
            verdict = judge(rule, measured, state, state_bytes(state))
    except TrainingError as error:
        return Attempt(str(error), seconds=time.perf_counter() - began)
    except _CallersError as passed:
        raise passed.error from None
    return Attempt(
        verdict.rejection,
        state,
        report,
        verdict.measured,
        seconds,
        verdict.joins,
        result.held_out,
    )


def is_machines(error: Exception) -> bool:
    """Return whether an error is caused by the machine rather than the block.

    >>> is_machines(MemoryError()), is_machines(ZeroDivisionError())
    (True, False)
    """
    words = str(error) if isinstance(error, RuntimeError) else ""
    return isinstance(error, MACHINES_ERRORS) or any(word in words for word in MACHINES_WORDS)


@contextmanager
def _block_errors() -> Iterator[None]:
    """Raise a TrainingError for every error that the machine did not cause."""
    try:
        yield
    except TrainingError:
        raise
    except Exception as error:
        if is_machines(error):
            raise
        log.exception("update cycle failed on its block")
        what = str(error).encode(errors="backslashreplace").decode()  # it may quote an item id
        raise TrainingError(
            f"{type(error).__name__} in the update cycle: {what:.500}; the trainer's log has the "
            "traceback; the next block is trained from the same parent"
        ) from error


def _passing(call: Callable[..., None]) -> Callable[..., None]:
    """Wrap errors of a caller's function, to tell them apart from the cycle's."""

    def called(*arguments: object) -> None:
        try:
            call(*arguments)
        except Exception as error:
            raise _CallersError(error) from error

    return called
