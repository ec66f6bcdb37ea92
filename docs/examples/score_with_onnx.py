"""Recommend with an exported version in onnxruntime: no torch, and nothing of ader-stream."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import onnxruntime

NO_ITEM = -1
"""Fills a row in front of a session that is shorter than the model's input."""


def main() -> None:
    """Print the best items after a session."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="what `ader-stream models export` has written")
    parser.add_argument("session", nargs="+", metavar="ITEM", help="item ids, in order of clicks")
    parser.add_argument("-k", type=int, default=10, help="how many items to print")
    arguments = parser.parse_args()

    onnxruntime.set_default_logger_severity(3)  # errors; it warns of what it does not fold
    model = onnxruntime.InferenceSession(arguments.folder / "model.onnx")
    items = json.loads((arguments.folder / "items.json").read_text(encoding="utf-8"))
    for score, item in best_items(model, items, arguments.session, arguments.k):
        print(f"{score:8.3f}  {item}")


def best_items(
    model: onnxruntime.InferenceSession, items: list[str], session: list[str], k: int
) -> list[tuple[float, str]]:
    """Return the k best (score, item) after a session, best first."""
    row_of = {item: row for row, item in enumerate(items)}
    known = [row_of[item] for item in session if item in row_of]
    if not known:
        raise SystemExit(f"{session}: the version knows none of these items; see items.json")

    length = model.get_inputs()[0].shape[1]  # the model looks at so many clicks
    recent = known[-length:]
    rows = np.full((1, length), NO_ITEM, dtype=np.int64)  # (B, length), the last click at the end
    rows[0, -len(recent) :] = recent

    best, scores = model.run(["items", "scores"], {"session": rows, "k": np.array(k)})  # (B, k)
    return [(float(score), items[row]) for row, score in zip(best[0], scores[0], strict=True)]


if __name__ == "__main__":
    main()
