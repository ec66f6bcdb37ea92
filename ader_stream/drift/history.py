"""The values of every signal on the last blocks: what thresholds are made of."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from ader_stream.drift.measurements import Measurements
from ader_stream.drift.thresholds import Usual
from ader_stream.errors import DecodeError

KEPT = 16
"""Blocks that are kept: enough for a spread, and few enough to follow a shop that changes."""


class History:
    """Measured values of the last `KEPT` blocks, for each signal.

    Blocks and shorter spans (an hour) need a history each: their usual distances differ.
    """

    def __init__(self, values: Mapping[str, Sequence[Usual]] | None = None) -> None:
        self._values = {name: list(usual)[-KEPT:] for name, usual in (values or {}).items()}

    def append(self, measured: Measurements) -> None:
        """Add the values of a block, once it is complete, and after its report."""
        for name, found in measured.items():
            kept = self._values.setdefault(name, [])
            kept.append(Usual(found.value, found.noise))
            del kept[:-KEPT]

    def of(self, name: str) -> Sequence[Usual]:
        """Return the values of a signal, oldest first."""
        return self._values.get(name, ())

    def to_bytes(self) -> bytes:
        """Return the values as JSON; the same values give the same bytes."""
        return json.dumps({"format": 1, "values": self._values}, sort_keys=True).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> History:
        """Return the values that `to_bytes` wrote; raise DecodeError if they cannot be read."""
        try:
            read = json.loads(data)
            if read["format"] > 1:
                raise DecodeError(
                    f"history of signals has format {read['format']}; this release reads 1: "
                    "update it"
                )
            values = {
                name: [Usual(*pair) for pair in kept] for name, kept in read["values"].items()
            }
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DecodeError(f"history of signals is damaged: {error!r}") from None
        return cls(values)
