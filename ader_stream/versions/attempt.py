"""One update cycle and its gate, with whatever the block does to them.

A block must not stop the trainer: what goes wrong in a cycle because of its data becomes a rejected
version with its reason, and the next block is trained. What is wrong with the machine, or with what
the caller does meanwhile (its disk, Kafka, a signal), is not the block's fault, and is raised.
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
from ader_stream.ader.data.dataset import Sessions
from ader_stream.ader.device import CPU
from ader_stream.ader.distributed import Workers
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
"""Errors that say nothing of a block: no room, no disk, no connection, settings that contradict the
parent. Every other block would meet them as well."""

MACHINES_WORDS = ("allocate memory", "out of memory", "CUDA", "CUBLAS", "NCCL", "gloo")
"""In the message of a plain RuntimeError, with which torch reports some of them."""


@dataclass(frozen=True, eq=False)
class Attempt:
    """What has come of a block.

    Parameters
    ----------
    rejection
        Why the version must not be served; None if it may.
    state, report
        Of the update cycle; without a state it came to nothing.
    measured
        By the gate; None where it was not reached.
    seconds
        That the cycle took.
    joins
        Whether the sessions are to be trained again together with the next block.
    """

    rejection: str | None
    state: State | None = None
    report: CycleReport = NOTHING_DONE
    measured: Measured | None = None
    seconds: float = 0.0
    joins: bool = False


@dataclass(frozen=True)
class Watch:
    """What the caller does while a cycle and its gate run; what it raises ends them.

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
    """Carries an error of the caller's through the cycle, which is not to blame for it."""

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
    """Train a version on a block and hold it against the gate; see `train_cycle`, `judge`.

    Raises
    ------
    Exception
        The machine's, and whatever `watch` raises; the block's are the attempt's `rejection`.
    """
    tell, between = _passing(watch.on_progress), _passing(watch.between)
    began = time.perf_counter()
    try:
        with _blamed_on_the_block():
            result = train_cycle(
                sessions,
                parent,
                recipe,
                seed,
                tell,
                method,
                Workers(device=device),
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
    return Attempt(verdict.rejection, state, report, verdict.measured, seconds, verdict.joins)


def is_machines(error: Exception) -> bool:
    """Tell whether an error is the machine's fault rather than the block's.

    >>> is_machines(MemoryError()), is_machines(ZeroDivisionError())
    (True, False)
    """
    words = str(error) if isinstance(error, RuntimeError) else ""
    return isinstance(error, MACHINES_ERRORS) or any(word in words for word in MACHINES_WORDS)


@contextmanager
def _blamed_on_the_block() -> Iterator[None]:
    """Make a TrainingError of everything that is not the machine's fault."""
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
    """Let no error of a caller's function look like one of the cycle's."""

    def called(*arguments: object) -> None:
        try:
            call(*arguments)
        except Exception as error:
            raise _CallersError(error) from error

    return called
