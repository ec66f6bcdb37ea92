"""Recommends from an exported folder with nothing but json, numpy and safetensors.

``python plain_reader.py FOLDER ITEM ITEM …`` prints the twenty best items as JSON.
"""

import json
import sys
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file


def normed(x, weights, name):
    scale, shift = weights[f"{name}.weight"], weights[f"{name}.bias"]
    variance = x.var(-1, keepdims=True)
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(variance + 1e-8) * scale + shift


def linear(x, weights, name):
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def block(queries, context, allowed, weights, name):
    queries = normed(queries, weights, f"{name}.attention_norm")
    keys = linear(context, weights, f"{name}.attention.key")
    scores = linear(queries, weights, f"{name}.attention.query") @ keys.T
    scores = np.where(allowed, scores / np.sqrt(keys.shape[1]), -np.inf)
    shares = np.exp(scores - scores.max(-1, keepdims=True))
    shares /= shares.sum(-1, keepdims=True)
    x = queries + shares @ linear(context, weights, f"{name}.attention.value")
    x = normed(x, weights, f"{name}.feed_forward_norm")
    inner = np.maximum(linear(x, weights, f"{name}.feed_forward.inner"), 0)
    return x + linear(inner, weights, f"{name}.feed_forward.outer")


def sasrec(rows, weights, architecture):
    """Scores of all items, by the model of recipe `paper`."""
    table = weights["items.weight"]
    x = table[rows] * np.sqrt(table.shape[1]) + weights["positions"][-len(rows) :]
    causal = np.tril(np.ones((len(rows), len(rows)), bool))
    for number in range(architecture["blocks"]):
        x = block(x, x, causal, weights, f"blocks.{number}")
    return normed(x[-1], weights, "norm") @ table.T


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def blended(directions, weights):
    """Each item's direction with those of the items that people clicked next to it."""
    companions, counts = weights["companions"] - 1, weights["together"]
    sums = counts.sum(1)
    shares = counts / np.maximum(np.sqrt(sums[:, None] * sums[companions]), 1e-9)
    return unit(
        directions + weights["blend"] * np.einsum("ik,ikd->id", shares, directions[companions])
    )


def core(rows, weights, architecture):
    """Scores of all items, by the model of recipe `production`."""
    directions = unit(weights["items.weight"])
    seen = directions[rows]
    logits = 3 * weights["age"][: len(rows)][::-1] + 5 * weights["likeness"] * (seen @ seen[-1])
    shares = np.exp(logits - logits.max())
    session = unit(shares @ seen)
    session = unit(session + 0.1 * session @ weights["turn"]) / architecture["temperature"]
    scores = blended(directions, weights) @ session + weights["pull"] * np.log(
        weights["clicks"] + 0.5
    )
    ages = {row: min(age, 2) for age, row in reversed(list(enumerate(reversed(rows))))}
    has_returned = len(ages) < len(rows)
    for row, age in ages.items():
        kind = 1 + age + 3 * has_returned if len(rows) > 1 else 0
        scores[row] += weights["gains"][kind]
    return scores


def main(folder, session):
    with safe_open(folder / "weights.safetensors", "numpy") as file:
        architecture = json.loads(file.metadata()["architecture"])
    weights = load_file(folder / "weights.safetensors")
    items = json.loads((folder / "items.json").read_text(encoding="utf-8"))
    rows = [items.index(item) for item in session if item in items][-architecture["maxlen"] :]
    score = {"sasrec": sasrec, "core": core}[architecture["encoder"]]
    best = np.argsort(-score(rows, weights, architecture), kind="stable")[:20]
    sys.stdout.write(json.dumps([items[row] for row in best]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
