"""Continual session-based recommendation: Kafka clicks in, ADER-trained models out.

The public library. A name is imported when it is first used, so that a process without a model
never loads torch::

    train_cycle, CycleResult    one update cycle: sessions and a parent to the next version
    CycleReport                 statistics of a cycle
    Recipe, recipe              hyper-parameters
    Method, method              ADER, its baselines and its ablations
    State                       one version
    load_state, save_state      a version in a folder, or an exported one
    evaluate                    the paper's protocol on recorded sessions
    top_k                       recommendations of a model
    Session, Settings, AderError
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ader_stream.ader.artifact.saved_states import load_state, save_state
    from ader_stream.ader.artifact.state import State
    from ader_stream.ader.cycle import CycleResult, train_cycle
    from ader_stream.ader.evaluate import evaluate
    from ader_stream.ader.methods import Method, method
    from ader_stream.ader.models.ranking import top_k
    from ader_stream.ader.recipes import Recipe, recipe
    from ader_stream.ader.report import CycleReport
    from ader_stream.errors import AderError
    from ader_stream.settings import Settings
    from ader_stream.types import Session

_MODULES = {
    "AderError": "errors",
    "CycleReport": "ader.report",
    "CycleResult": "ader.cycle",
    "Method": "ader.methods",
    "Recipe": "ader.recipes",
    "Session": "types",
    "Settings": "settings",
    "State": "ader.artifact.state",
    "evaluate": "ader.evaluate",
    "load_state": "ader.artifact.saved_states",
    "method": "ader.methods",
    "recipe": "ader.recipes",
    "save_state": "ader.artifact.saved_states",
    "top_k": "ader.models.ranking",
    "train_cycle": "ader.cycle",
}

__all__ = [
    "AderError",
    "CycleReport",
    "CycleResult",
    "Method",
    "Recipe",
    "Session",
    "Settings",
    "State",
    "evaluate",
    "load_state",
    "method",
    "recipe",
    "save_state",
    "top_k",
    "train_cycle",
]


def __dir__() -> list[str]:
    """Return the public names, those that are not imported yet included."""
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "safetensors"):
            raise
        remedy = f"{name} needs {error.name}; pip install 'ader-stream[model]'"
        raise ModuleNotFoundError(remedy, name=error.name) from None
    globals()[name] = value
    return value
