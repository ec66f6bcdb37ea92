"""Results of fixed inputs: trained versions, the sessionizer's records, and our record types.

They are recorded in ``recorded.json``, and a test compares them, so that a change of structure
that changes a result is noticed. A change that is meant to alter them records them again::

    python -m tests.regression.results
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from prometheus_client import CollectorRegistry

from ader_stream.ader.artifact.parts import encode_parts
from ader_stream.ader.artifact.state import State
from ader_stream.ader.cycle import train_cycle
from ader_stream.ader.methods import METHODS, Method
from ader_stream.ader.recipes import RECIPES, Recipe
from ader_stream.ader.report import CycleReport
from ader_stream.artifact import content_digest
from ader_stream.datasets import ShopSize, SimulatedShop
from ader_stream.metrics import Metrics
from ader_stream.runtime.resources import resource
from ader_stream.stream.avro.codec import encode, load_schema
from ader_stream.stream.clicks.decoder import ClickDecoder, ClickFormat
from ader_stream.stream.control.erasures import Erasures
from ader_stream.stream.groups.groups import Committed, Extent
from ader_stream.stream.kafka.producing import Transaction
from ader_stream.stream.sessions.task import SessionizerRules, SessionizerTasks
from ader_stream.stream.topics.topics import Topics
from ader_stream.types import BlockRule, IntakeRule, SessionRule
from tests.fakes import FakeKafka, FakeProducer, FakeRecord

RECORDED = Path(__file__).with_name("recorded.json")

HOUR = 3_600_000
SHOP = ShopSize(blocks=5, sessions=60, items=80)
SMALL = {"hidden": 16, "maxlen": 10, "batch_size": 64, "max_epochs": 2, "exemplars": 100}
SEED = 3

Sessions = list[tuple[str, ...]]


def machine() -> str:
    """Name what the last bits of a float depend on."""
    return f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}"


def shop_blocks() -> list[Sessions]:
    """Return the sessions of a simulated shop's five blocks."""
    shop = SimulatedShop(BlockRule(0, 24 * HOUR), gap=HOUR // 2, size=SHOP, seed=SEED)
    blocks = []
    for _, clicks in shop.blocks():
        sessions: dict[str, list[str]] = {}
        for click in clicks:
            sessions.setdefault(click.key, []).append(click.item)
        blocks.append([tuple(items) for items in sessions.values()])
    return blocks


def small(recipe: Recipe) -> Recipe:
    """Make a recipe small enough to train in a second."""
    return replace(recipe, **SMALL)


def versions(blocks: list[Sessions], recipe: Recipe, method: Method) -> Iterator[dict[str, Any]]:
    """Train a version on each block, and say what it has come to."""
    state: State | None = None
    for number in range(len(blocks)):
        sessions, parent = method.training_data(blocks[: number + 1], state)
        result = train_cycle(sessions, parent, recipe, SEED, lambda _: None, method)
        state, report = result.state, result.report
        yield {"digest": content_digest(encode_parts(state))} | counts(report)


def counts(report: CycleReport) -> dict[str, Any]:
    """Return what of a report holds on every machine, the losses apart."""
    return {
        "items": report.items,
        "exemplars": report.exemplars,
        "train_samples": report.train_samples,
        "validation_samples": report.validation_samples,
        "adaptive_weight": report.adaptive_weight,
        "losses": report.losses,
    }


def trained() -> dict[str, list[dict[str, Any]]]:
    """Train five versions by each recipe, and two by each method."""
    torch.set_num_threads(1)
    blocks = shop_blocks()
    by_recipe = {
        f"recipe {name}": list(versions(blocks, small(recipe), METHODS["ader"]))
        for name, recipe in RECIPES.items()
    }
    by_method = {
        f"method {name}": list(versions(blocks[:2], small(RECIPES["paper"]), method))
        for name, method in METHODS.items()
    }
    return by_recipe | by_method


def sessionized() -> dict[str, str]:
    """Sessionize a log of 2,000 clicks, and hash what is written to each topic."""
    kafka, topics = FakeKafka(), Topics("ader")
    kafka.partitions.setdefault(topics.clicks, 1)
    rules = SessionizerRules(
        BlockRule(0, HOUR),
        SessionRule(10 * 60_000, lateness=30_000),
        IntakeRule(max_jump=6 * HOUR, confirmations=2, held_offsets=10, max_event_ids=50),
    )
    decoder = ClickDecoder(ClickFormat(event_id="id", extra=("price",)))
    metrics = Metrics(CollectorRegistry())
    tasks = SessionizerTasks(kafka, topics, decoder, rules, metrics, Erasures(), None, lambda: 1e9)
    task = tasks([0])[0]
    next_offset = task.restore(task.place(None, Extent(0, 10_000)) or Committed(0, ""), 0)
    task.begin()
    producer = FakeProducer(kafka)
    for some in chunks(list(click_log()), 100):
        task.process(some)
        next_offset = some[-1].offset() + 1
        transaction = Transaction()
        task.write(transaction, next_offset)
        producer.begin_transaction()
        transaction.send(producer)
        producer.commit_transaction(1)
        task.committed()
    names = [topics.sessions, topics.sessionizer_state, topics.dead_letters]
    return {name: hashed(kafka.records(name)) for name in names}


def click_log() -> Iterator[FakeRecord]:
    """Yield clicks of 40 visitors: some late, some twice, some no clicks, one an hour ahead."""
    rng = np.random.default_rng(SEED)
    time = 10 * HOUR
    for offset in range(2_000):
        time += int(rng.exponential(8_000))
        key = f"visitor-{int(rng.integers(40))}"
        shift = int(rng.choice([0, 0, 0, -20_000, -60_000]))
        if offset == 700:
            shift = 12 * HOUR
        value = {
            "session": key,
            "item": f"item-{int(rng.integers(200))}",
            "time": time + shift,
            "id": f"event-{offset - (offset % 97 == 0)}",
            "price": f"{rng.integers(1, 100)}.00",
        }
        text = json.dumps(value) if offset % 113 else "no click"
        yield FakeRecord(text.encode(), key.encode(), offset=offset, timestamp=time)


def chunks(records: list[FakeRecord], size: int) -> Iterator[list[FakeRecord]]:
    """Cut a list into parts of a size."""
    for start in range(0, len(records), size):
        yield records[start : start + size]


def hashed(records: Iterable[FakeRecord]) -> str:
    """Hash partitions, keys, headers and values."""
    digest, count = hashlib.sha256(), 0
    for record in records:
        parts = record.partition(), record.key(), record.headers(), record.value()
        digest.update(repr(parts).encode())
        count += 1
    return f"{count} records, {digest.hexdigest()[:16]}"


def record_types() -> dict[str, str]:
    """Encode a record of every type with a value in every field, and hash headers and bytes."""
    result = {}
    for file in sorted(resource("schemas").glob("*.avsc")):
        name = file.stem
        value = filled(load_schema(name))
        result[name] = hashlib.sha256(repr(encode(name, value)).encode()).hexdigest()[:16]
    return result


def filled(schema: Any) -> Any:
    """Return a value of a schema in which nothing is empty."""
    if isinstance(schema, list):
        return filled(schema[-1])
    if isinstance(schema, str):
        return VALUES[schema]
    if schema["type"] == "record":
        return {field["name"]: filled(field["type"]) for field in schema["fields"]}
    if schema["type"] == "array":
        return [filled(schema["items"])] * 2
    if schema["type"] == "map":
        return {"a": filled(schema["values"])}
    return filled(schema["type"])


VALUES: dict[str, Any] = {
    "null": None,
    "boolean": True,
    "int": 7,
    "long": 1_700_000_000_123,
    "float": 1.5,
    "double": -0.1,
    "bytes": b"\x00\xff",
    "string": "ü",
}


def results() -> dict[str, Any]:
    """Return everything that is compared."""
    return {"trained": trained(), "sessionized": sessionized(), "records": record_types()}


if __name__ == "__main__":
    before = json.loads(RECORDED.read_text("utf-8")) if RECORDED.exists() else {}
    now = results()
    digests = {key: [v.pop("digest") for v in found] for key, found in now["trained"].items()}
    now["digests"] = before.get("digests", {}) | {machine(): digests}
    RECORDED.write_text(json.dumps(now, indent=1) + "\n", encoding="utf-8")
