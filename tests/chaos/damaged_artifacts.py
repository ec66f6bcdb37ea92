"""Damages published versions at random; none may be served, none may crash its reader.

``python -m tests.chaos.damaged_artifacts 10000`` does so ten thousand times.
"""

from __future__ import annotations

import json
import random
import resource
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ader_stream.ader.artifact.parts import encode_parts
from ader_stream.ader.cycle import train_cycle
from ader_stream.ader.recipes import Recipe
from ader_stream.artifact import KINDS
from ader_stream.errors import ArtifactError
from ader_stream.stream.avro.codec import encode
from ader_stream.stream.model_registry.manifest_record import Trust, decode_manifest
from ader_stream.stream.model_registry.model_log import ModelPublisher
from ader_stream.stream.model_registry.model_reader import ModelReader
from ader_stream.stream.model_registry.signing import Signer, TrustedKeys, key_id
from ader_stream.stream.topics.topics import Topics
from ader_stream.versions.load import load_serving, load_state
from tests.fakes import FakeKafka, FakeRecord, changed, example_manifest

TOPICS = Topics("ader")
CHUNK_SIZE = 2_000
KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
TRUSTED = TrustedKeys({key_id(KEY.public_key()): KEY.public_key()}, required=True)
RECIPE = Recipe(hidden=8, blocks=1, maxlen=5, max_epochs=1, batch_size=32, exemplars=20)
SESSIONS = [[f"item-{(start + step) % 12}" for step in range(4)] for start in range(12)]
HUGE = 2**40

Parts = dict[str, bytes]
Damage = Callable[[random.Random, FakeKafka], None]
Lie = Callable[[random.Random, Parts], Parts]


@dataclass(frozen=True)
class Outcome:
    """What became of the damaged versions: reasons and counts; and the memory it took, bytes."""

    refused: Counter[str]
    harmless: int
    grown: int


def damage_many(count: int, seed: int) -> Outcome:
    """Damage a version `count` times and try to load it.

    Raises whatever but ArtifactError comes out, and AssertionError where something was loaded
    that is not the version that was trained.
    """
    rng = random.Random(seed)
    parts = trained()
    refused: Counter[str] = Counter()
    harmless = 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(count):
        kafka = rng.choice((damaged_log, lying_publisher))(rng, parts)
        try:
            found = load(kafka)
        except ArtifactError as error:
            refused[error.reason] += 1
        else:
            assert found == parts, "a damaged version was loaded"
            harmless += 1
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return Outcome(refused, harmless, (after - before) * 1024)


def trained() -> Parts:
    return encode_parts(train_cycle(SESSIONS, None, RECIPE, 0, lambda _: None).state)


def publish(kafka: FakeKafka, parts: Mapping[str, bytes], **lies: Any) -> None:
    manifest = example_manifest(report={"items": 12, "exemplars": 20})
    ModelPublisher(kafka, TOPICS, CHUNK_SIZE, Signer(KEY)).publish(changed(manifest, **lies), parts)


def load(kafka: FakeKafka) -> Parts:
    """What a worker and a trainer would continue with."""
    [record] = kafka.records(TOPICS.models)
    trust = Trust(TRUSTED, max_bytes=2**24)
    manifest = decode_manifest(record, trust)
    reader = ModelReader(kafka, TOPICS, trust, pause=lambda _: None)
    state = load_state(reader, manifest)
    load_serving(reader, manifest)
    return encode_parts(state)


# --- damage on the way: the log is not what was published


def damaged_log(rng: random.Random, parts: Parts) -> FakeKafka:
    kafka = FakeKafka()
    publish(kafka, parts)
    rng.choice(DAMAGES)(rng, kafka)
    return kafka


def spoil_chunk(rng: random.Random, kafka: FakeKafka) -> None:
    chunk = rng.choice(kafka.records(TOPICS.model_chunks))
    kafka.replace(chunk, spoilt(rng, chunk.value() or b""))


def spoil_manifest(rng: random.Random, kafka: FakeKafka) -> None:
    [record] = kafka.records(TOPICS.models)
    kafka.replace(record, spoilt(rng, record.value() or b""))


def remove_chunk(rng: random.Random, kafka: FakeKafka) -> None:
    kafka.remove(rng.choice(kafka.records(TOPICS.model_chunks)))


def swap_chunks(rng: random.Random, kafka: FakeKafka) -> None:
    one, other = rng.sample(kafka.records(TOPICS.model_chunks), 2)
    kafka.replace(one, other.value())
    kafka.replace(other, one.value())


def spoil_headers(rng: random.Random, kafka: FakeKafka) -> None:
    [record] = kafka.records(TOPICS.models)
    headers = [list(header) for header in record.headers() or ()]
    number = rng.randrange(len(headers))
    if rng.random() < 0.3:
        del headers[number]
    else:
        headers[number][1] = spoilt(rng, headers[number][1] or b"")
    other = FakeRecord(record.value(), record.key(), headers=[(n, v) for n, v in headers])
    kafka.log[TOPICS.models, 0] = [other]


def replace_manifest(rng: random.Random, kafka: FakeKafka) -> None:
    """A manifest of random bytes, of another type, or one that claims to be deep or huge."""
    value, headers = encode("Watermark", {"stream_time": 1})
    [record] = kafka.records(TOPICS.models)
    deep = b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01" * rng.randrange(1, 2_000)
    values = [value, rng.randbytes(300), deep, bytes(5 * 2**20)]
    kept = rng.choice([headers, record.headers() or []])
    signed = [*kept[:2], Signer(KEY).header(chosen := rng.choice(values))]
    kafka.log[TOPICS.models, 0] = [FakeRecord(chosen, record.key(), headers=signed)]


DAMAGES: tuple[Damage, ...] = (
    spoil_chunk,
    spoil_manifest,
    remove_chunk,
    swap_chunks,
    spoil_headers,
    replace_manifest,
)


def spoilt(rng: random.Random, data: bytes) -> bytes:
    """Bytes with some flipped, cut out, put in, or turned round."""
    changed = bytearray(data)
    at = rng.randrange(len(changed) + 1)
    kind = rng.randrange(5)
    if kind == 0 and changed:
        changed[at % len(changed)] ^= 1 << rng.randrange(8)
    elif kind == 1:
        del changed[at : at + rng.choice((1, 8, len(data)))]
    elif kind == 2:
        changed[at:at] = rng.randbytes(rng.choice((1, 8, 1_000)))
    elif kind == 3:
        changed.reverse()
    else:
        changed[at:] = rng.randbytes(len(changed) - at)
    return bytes(changed)


# --- damage at the source: every hash and the signature confirm what makes no sense


def lying_publisher(rng: random.Random, parts: Parts) -> FakeKafka:
    kafka = FakeKafka()
    if rng.random() < 0.1:
        publish(kafka, parts, **rng.choice(MANIFEST_LIES))
    else:
        publish(kafka, rng.choice(LIES)(rng, dict(parts)))
    return kafka


MANIFEST_LIES: tuple[dict[str, Any], ...] = (
    {"version": 0},
    {"version": HUGE},
    {"parent": 5},
    {"predecessor": -1},
    {"blocks": []},
    {"status": "\0"},
    {"report": {"items": 12, "exemplars": HUGE}},
    {"report": {"items": -1, "exemplars": 20}},
)


def spoil_header(rng: random.Random, parts: Parts) -> Parts:
    """Damage what describes the tensors, not the numbers in them: those may be any."""
    kind = rng.choice(KINDS)
    blob = parts[kind]
    end = 8 + int.from_bytes(blob[:8], "little")
    return parts | {kind: spoilt(rng, blob[:end]) + blob[end:]}


def hostile_header(rng: random.Random, parts: Parts) -> Parts:
    kind = rng.choice(KINDS)
    blob = parts[kind]
    end = 8 + int.from_bytes(blob[:8], "little")
    header = json.loads(blob[8:end])
    name = rng.choice(list(header))
    value = rng.choice((None, [], {}, -1, HUGE, "F32", [HUGE], "\0", 1e300, [[[]]]))
    if isinstance(header[name], dict) and rng.random() < 0.8:
        header[name][rng.choice(list(header[name]))] = value
    else:
        header[name] = value
    text = json.dumps(header).encode()
    if rng.random() < 0.2:
        text = b'{"a":' * rng.randrange(1, 50_000)
    return parts | {kind: len(text).to_bytes(8, "little") + text + blob[end:]}


def hostile_architecture(rng: random.Random, parts: Parts) -> Parts:
    numbers = {"hidden": 8, "blocks": 1, "maxlen": 5}
    other: tuple[Any, ...] = (HUGE, -1, 0, "8", None, 99_999, 10**9, [8], 1.5)
    numbers[rng.choice(list(numbers))] = rng.choice(other)
    blob = parts["weights"]
    end = 8 + int.from_bytes(blob[:8], "little")
    header = json.loads(blob[8:end])
    header["__metadata__"]["architecture"] = json.dumps(numbers)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return parts | {"weights": len(text).to_bytes(8, "little") + text + blob[end:]}


def cut_part(rng: random.Random, parts: Parts) -> Parts:
    kind = rng.choice(KINDS)
    return parts | {kind: parts[kind][: rng.randrange(len(parts[kind]))]}


def swap_parts(rng: random.Random, parts: Parts) -> Parts:
    one, other = rng.sample(KINDS, 2)
    return parts | {one: parts[other], other: parts[one]}


LIES: tuple[Lie, ...] = (spoil_header, hostile_header, hostile_architecture, cut_part, swap_parts)


def main() -> None:
    """Print what became of as many damaged versions as the first argument says."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    count = int(sys.argv[1])
    outcome = damage_many(count, seed=int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    lines = [f"{reason}: {n}" for reason, n in outcome.refused.most_common()]
    print(
        f"{count} damaged versions: {sum(outcome.refused.values())} refused "
        f"({', '.join(lines)}), {outcome.harmless} unchanged in content, none served wrongly; "
        f"memory grew by {outcome.grown / 2**20:.0f} MiB"
    )


if __name__ == "__main__":
    main()
