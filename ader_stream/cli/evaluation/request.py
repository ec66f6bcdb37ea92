"""What ``ader-stream evaluate`` was asked for, and the names that it accepts.

The names are written here again because the modules that define them load torch, which the help
must not need.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ader_stream.datasets import TableLayout
from ader_stream.types import BlockRule

METHODS = (
    *("ader", "finetune", "dropout", "ewc", "joint", "er-herding", "er-random", "er-loss"),
    *("ader-equal", "ader-fix"),
)
"""Names in `ader.methods.METHODS`."""

RECIPES = ("paper", "production")
"""Names in `ader.recipes.RECIPES`."""

DEVICES = ("auto", "cpu", "cuda")
"""`ader.device.CHOICES`."""


@dataclass(frozen=True, slots=True)
class Request:
    """The options of the command; see its help."""

    dataset: Path
    method: str
    recipe: str
    overrides: dict[str, float | str]
    device: str
    seed: int
    cycles: int | None
    resume: bool
    out: Path
    plots: Path | None
    with_details: bool
    table: TableLayout
    rule: BlockRule
    gap: int
