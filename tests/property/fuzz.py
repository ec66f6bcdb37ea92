"""Random and mutated bytes against every click decoder, for as long as you like.

``python -m tests.property.fuzz --minutes 10`` prints how many records there were and what became
of them. It ends with code 1 at the first record that is no click, no dead letter and not ignored,
and prints what repeats it; a decoder that hangs is ended after a minute, with its stack.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from ader_stream.errors import NotYetError
from ader_stream.stream.clicks.decoder import WATERMARK_HEADER, ClickDecoder
from tests.fakes import FakeRecord
from tests.property.any_format import any_format
from tests.property.any_record import SAMPLES, every_decoder, require_taken_or_refused

ALL_SAMPLES = [sample for samples in SAMPLES.values() for sample in samples]
BATCH = 200
HANG_SECONDS = 60

TOKENS = [
    b'{"session":',
    b'"item":7,',
    b'"time":"2024-01-01T00:00:00Z"',
    b'{"user":{"id":null}}',
    b"[" * 3_000,
    b"9" * 5_000,
    b"-1e999",
    b"NaN",
    b'"\\ud800"',
    b"\xed\xa0\x80",
    b"__partition__",
    b"\xff" * 9 + b"\x01",
    b"\x80" * 20,
    b"\x80" * 20_000,
    b"\x02" * 50_000,
    b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\0\0\0\0",
]
"""What decoders are known to stumble over."""


def main() -> int:
    arguments = parse_arguments()
    rng = random.Random(arguments.seed)
    outcomes: Counter[str] = Counter()
    slowest = 0.0
    deadline = time.monotonic() + 60 * arguments.minutes
    with tempfile.TemporaryDirectory() as folder, every_decoder(Path(folder)) as decoders:
        while time.monotonic() < deadline:
            name, decoder = any_decoder(rng, decoders)
            records = [any_record(rng, SAMPLES.get(name, SAMPLES["json"])) for _ in range(BATCH)]
            faulthandler.dump_traceback_later(HANG_SECONDS, exit=True)
            started = time.monotonic()
            if not take_all(name, decoder, records, outcomes):
                return 1
            slowest = max(slowest, time.monotonic() - started)
    faulthandler.cancel_dump_traceback_later()
    counts = dict(sorted(outcomes.items()))
    total = sum(outcomes.values())
    say({"seed": arguments.seed, "records": total, "slowest_200_seconds": slowest, **counts})
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    return parser.parse_args()


def any_decoder(
    rng: random.Random, decoders: Mapping[str, ClickDecoder]
) -> tuple[str, ClickDecoder]:
    """One of the decoders, or one of random paths and a random filter, with its name."""
    if rng.random() < 0.5:
        name = rng.choice([*decoders])
        return name, decoders[name]
    format_ = any_format(rng)
    return repr(format_), ClickDecoder(format_)


def take_all(
    name: str, decoder: ClickDecoder, records: list[FakeRecord], outcomes: Counter[str]
) -> bool:
    """Take records as a worker does; say which one is neither a click nor a dead letter."""
    record = records[0]
    try:
        decoder.check_readable(records)
        for record in records:
            outcomes[require_taken_or_refused(decoder, record)] += 1
    except NotYetError:
        outcomes["waits for its schema"] += len(records)
    except Exception as error:
        what = {"decoder": name, "value": repr(record.value()), "key": repr(record.key())}
        say({"error": repr(error), **what, "headers": repr(record.headers())})
        return False
    return True


def any_record(rng: random.Random, samples: Sequence[bytes]) -> FakeRecord:
    return FakeRecord(
        any_value(rng, samples),
        rng.choice([None, b"key", rng.randbytes(rng.randrange(6))]),
        headers=rng.choice([None, [], any_headers(rng)]),
        timestamp=rng.choice([-1, 0, 1_700_000_000_000, rng.randrange(-(2**63), 2**63)]),
    )


def any_value(rng: random.Random, samples: Sequence[bytes]) -> bytes | None:
    """Nothing, noise, or a value of the format or of another one, changed in up to six places."""
    kind = rng.random()
    if kind < 0.05:
        return None
    if kind < 0.15:
        return rng.randbytes(rng.randrange(80))
    value = bytearray(rng.choice(samples if kind < 0.85 else ALL_SAMPLES))
    for _ in range(rng.choice([0, 1, 1, 1, 2, 3, 6])):
        rng.choice(MUTATIONS)(rng, value)
    return bytes(value)


def flip_a_bit(rng: random.Random, value: bytearray) -> None:
    if value:
        value[rng.randrange(len(value))] ^= 1 << rng.randrange(8)


def replace_some(rng: random.Random, value: bytearray) -> None:
    at = rng.randrange(len(value) + 1)
    value[at : at + rng.randrange(6)] = rng.randbytes(rng.randrange(6))


def insert_a_token(rng: random.Random, value: bytearray) -> None:
    at = rng.randrange(len(value) + 1)
    value[at : at + rng.choice([0, 0, 1, 8])] = rng.choice(TOKENS)


def cut(rng: random.Random, value: bytearray) -> None:
    del value[rng.randrange(len(value) + 1) :]


def repeat_some(rng: random.Random, value: bytearray) -> None:
    at = rng.randrange(len(value) + 1)
    value[at:at] = value[at : at + rng.randrange(20)] * rng.choice([1, 2, 300])


def splice(rng: random.Random, value: bytearray) -> None:
    other = rng.choice(ALL_SAMPLES)
    value[rng.randrange(len(value) + 1) :] = other[rng.randrange(len(other)) :]


MUTATIONS = [flip_a_bit, replace_some, insert_a_token, cut, repeat_some, splice]


def any_headers(rng: random.Random) -> list[tuple[str, bytes | None]]:
    value = rng.choice([None, b"1700000000000", b"9" * rng.randrange(30), rng.randbytes(5)])
    return [("other", b"\xff"), (rng.choice(["x", WATERMARK_HEADER, WATERMARK_HEADER]), value)]


def say(what: object) -> None:
    sys.stdout.write(f"{json.dumps(what)}\n")


if __name__ == "__main__":
    sys.exit(main())
