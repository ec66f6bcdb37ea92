"""Convert dead letters to JSON, and read corrected ones from JSON."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from ader_stream.errors import InputError
from ader_stream.stream.dead_letters.letters import Letter, LetterId

_MENDABLE = ("key", "value")


def letter_as_json(letter: Letter) -> dict[str, Any]:
    """Return a letter as JSON values; bytes that are not UTF-8 are base64, and named so."""
    headers = [{"name": name, **_bytes("value", value)} for name, value in letter.headers()]
    return {
        "id": str(letter.id),
        "refused_at": refused_at(letter),
        "reason": letter.reason,
        "error": letter.fields["error"],
        "topic": letter.topic(),
        "partition": letter.partition(),
        "offset": letter.offset(),
        "timestamp": letter.timestamp()[1],
        **_bytes("key", letter.key()),
        **_bytes("value", letter.value()),
        "headers": headers,
        **({"truncated": dict(letter.truncated)} if letter.truncated else {}),
        "replayed": letter.is_replayed,
    }


def refused_at(letter: Letter) -> str:
    """Return when a letter was refused, as ISO 8601."""
    at = datetime.fromtimestamp(letter.refused_at / 1000, UTC)
    return at.isoformat(timespec="milliseconds")


def read_changed_letters(lines: Iterable[str]) -> dict[LetterId, dict[str, bytes | None]]:
    """Read lines of JSON from `letter_as_json`; return id → key and value, where given.

    Raises
    ------
    InputError
        Names the invalid line.
    """
    changed = {}
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                letter = json.loads(line)
                changed[LetterId.parse(letter["id"])] = _changed_fields(letter)
            except (ValueError, KeyError, TypeError, AttributeError, InputError) as error:
                raise InputError(
                    f"line {number} of the changed letters: {error!r}; expected lines of "
                    "`ader-stream dead-letters list --json`"
                ) from None
    return changed


def _bytes(name: str, value: bytes | None) -> dict[str, str | None]:
    try:
        return {name: None if value is None else value.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(value or b"").decode()}


def _changed_fields(letter: Mapping[str, Any]) -> dict[str, bytes | None]:
    fields: dict[str, bytes | None] = {}
    for name in _MENDABLE:
        if name in letter:
            text = letter[name]
            fields[name] = None if text is None else text.encode()
        elif f"{name}_base64" in letter:
            fields[name] = _from_base64(letter[f"{name}_base64"])
    return fields


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"{text!r:.50} is no base64: {error}") from None
