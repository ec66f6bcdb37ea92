"""The result of an evaluation: one JSON file, complete after every cycle, to resume from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from ader_stream.errors import InputError

DECIDING = ("threads", "processes", "device", "precision")
"""Properties of the machine that decide the numbers; its processor and memory do not."""

METRICS = ("recall@10", "recall@20", "mrr@10", "mrr@20")


@dataclass(frozen=True)
class ResultFile:
    """Inputs of an evaluation, and its cycles so far.

    Parameters
    ----------
    path
        Path of the file.
    run
        All inputs of the result: data, method, every hyper-parameter, seed, code, versions …
    machine
        Machine of the measurement; a run may continue on another one with the same `DECIDING`
        values.
    cycles
        An entry for each finished cycle, the first one first.
    """

    path: Path
    run: Mapping[str, object]
    machine: Mapping[str, object]
    cycles: list[dict[str, Any]] = field(default_factory=list)

    @property
    def states(self) -> Path:
        """Return the folder of the states to resume from."""
        return self.path.with_name(f"{self.path.name}.state")

    def resume(self) -> None:
        """Load the finished cycles of an earlier run; none if there was no run.

        Raises
        ------
        InputError
            The file is not a result, or belongs to another run.
        """
        if not self.path.exists():
            return
        try:
            earlier = json.loads(self.path.read_text(encoding="utf-8"))
            cycles = list(earlier["cycles"])
            theirs = {**earlier, "machine": _deciding(earlier.get("machine", {}))}
        except (ValueError, TypeError, KeyError):
            raise InputError(
                f"{self.path}: is not a result of an evaluation; name another file with --out"
            ) from None
        ours = json.loads(json.dumps({**self.run, "machine": _deciding(self.machine)}))
        if other := list(_differences(theirs, ours)):
            raise InputError(
                f"{self.path}: is of another run: {'; '.join(other)}; repeat that run's options "
                "with its code and data, or leave --resume out to start from the first cycle"
            )
        self.cycles.extend(cycles)

    def write(self) -> None:
        """Replace the file atomically, so that it is always complete."""
        result = {
            **self.run,
            "machine": self.machine,
            "cycles": self.cycles,
            "mean": mean_scores(self.cycles),
        }
        part = self.path.with_name(self.path.name + ".part")
        part.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        part.replace(self.path)


def _deciding(machine: Mapping[str, object]) -> dict[str, object]:
    return {name: machine[name] for name in DECIDING if name in machine}


def _differences(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> Iterator[str]:
    """Yield each value of ours that differs or is missing there; later periods may have been added.

    >>> list(_differences({"seed": 0, "sizes": {"batch": 8}}, {"seed": 1, "sizes": {"batch": 9}}))
    ['seed 0 instead of 1', 'sizes.batch 8 instead of 9']
    """
    there, here = dict(_leaves(theirs)), dict(_leaves(ours))
    gone = [name for name in there if name not in here and name.partition(".")[0] in ours]
    for name in [*here, *gone]:
        is_later_period = name.startswith("periods.") and "periods.0" in there
        if name not in here:
            yield f"{name} {there[name]!r} instead of none"
        elif name in there and there[name] != here[name]:
            yield f"{name} {there[name]!r} instead of {here[name]!r}"
        elif name not in there and not is_later_period:
            yield f"{name} (not recorded) instead of {here[name]!r}"


def _leaves(value: Mapping[Any, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, inner in value.items():
        within = dict(enumerate(inner)) if isinstance(inner, list) else inner
        if isinstance(within, Mapping):
            yield from _leaves(within, f"{path}{name}.")
        else:
            yield f"{path}{name}", inner


def mean_scores(cycles: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the mean of all cycles with a target, each with the same weight, as in the paper."""
    scored = [cycle for cycle in cycles if cycle["targets"]]
    return {name: fmean(cycle[name] for cycle in scored) for name in METRICS if scored}
