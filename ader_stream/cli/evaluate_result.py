"""The result of an evaluation: one JSON file, whole after every cycle, and a way to go on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from ader_stream.errors import InputError

METRICS = ("recall@10", "recall@20", "mrr@10", "mrr@20")


@dataclass(frozen=True)
class ResultFile:
    """What was run, on what, and its cycles so far.

    Parameters
    ----------
    path
        Where it stands.
    run
        What decides the result: dataset, method, recipe, seed, versions …
    machine
        What it was measured on; a run may go on elsewhere.
    cycles
        An entry for each finished cycle, the first one first.
    """

    path: Path
    run: Mapping[str, object]
    machine: Mapping[str, object]
    cycles: list[dict[str, Any]] = field(default_factory=list)

    @property
    def states(self) -> Path:
        """Folder of the states to go on from."""
        return self.path.with_name(f"{self.path.name}.state")

    def resume(self) -> None:
        """Take the cycles over that an earlier run has finished; none where there was no run.

        Raises
        ------
        InputError
            The file is no result, or that of another run.
        """
        if not self.path.exists():
            return
        try:
            earlier = json.loads(self.path.read_text(encoding="utf-8"))
            cycles = list(earlier["cycles"])
        except (ValueError, TypeError, KeyError):
            raise InputError(
                f"{self.path}: is no result of an evaluation; name another file with --out"
            ) from None
        other = [
            f"{name} {earlier.get(name)!r} instead of {value!r}"
            for name, value in self.run.items()
            if earlier.get(name) != value
        ]
        if other:
            raise InputError(
                f"{self.path}: is of another run: {'; '.join(other)}; repeat that run's options, "
                "or leave --resume out to begin anew"
            )
        self.cycles.extend(cycles)

    def write(self) -> None:
        """Replace the file at once, so that it is whole whenever it is read."""
        result = {
            **self.run,
            "machine": self.machine,
            "cycles": self.cycles,
            "mean": mean_scores(self.cycles),
        }
        part = self.path.with_name(self.path.name + ".part")
        part.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        part.replace(self.path)


def mean_scores(cycles: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Average the cycles that had a target, each with the same weight, as in the paper."""
    scored = [cycle for cycle in cycles if cycle["targets"]]
    return {name: fmean(cycle[name] for cycle in scored) for name in METRICS if scored}
