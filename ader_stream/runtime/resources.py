"""Files inside the package of the wheel, and next to it in a checkout: schemas, pom, workers."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

WORKERS = "consumers"
PACKAGED_WORKERS = f"ader_stream.{WORKERS}"
"""Package of the worker processes: in a checkout, and in the wheel."""

_PACKAGE = Path(__file__).parents[1]


def resource(*parts: str) -> Path:
    """Return the path of a packaged file or folder.

    In the wheel it is inside the package; in a checkout next to it.

    >>> resource("schemas", "Click.avsc").name
    'Click.avsc'
    """
    packaged = _PACKAGE.joinpath(*parts)
    return packaged if packaged.exists() else _PACKAGE.parent.joinpath(*parts)


def worker_module(name: str) -> str:
    """Return the module of a worker; its `run(settings)` runs the worker.

    >>> worker_module("trainer").rpartition(".")[2]
    'trainer'
    """
    return f"{PACKAGED_WORKERS if _are_workers_packaged() else WORKERS}.{name}"


def worker_command(name: str) -> list[str]:
    """Return the command that runs a worker from the same code as this process."""
    # Without -P, the current folder would precede the installed code on the import path.
    safe_path = ["-P"] if _are_workers_packaged() else []
    return [sys.executable, *safe_path, "-m", worker_module(name)]


def _are_workers_packaged() -> bool:
    return find_spec(PACKAGED_WORKERS) is not None
