"""Get a schema of a registry with the schemas that it references."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ader_stream.stream.schema_registry.http import (
    ForbiddenError,
    NoAnswerError,
    NotFoundError,
    RegistryHttp,
)
from ader_stream.stream.schema_registry.whole_schema import whole_schema

MOST_REFERENCES = 500
"""Most references of a schema, all together; each is at most `DEEPEST` steps away."""

DEEPEST = 100
MOST_KEPT = 2_000
MOST_CHARACTERS = 4 * 2**20

Answer = dict[str, Any]
Version = tuple[str, int]


FORBIDDEN = "may not be read by this user; allow it at the registry"


class RefusedSchemaError(Exception):
    """The registry's schema cannot be used to read values; the message says why."""


class ReferredSchemas:
    """Versions of subjects that schemas have referenced: they never change."""

    def __init__(self) -> None:
        self._found: dict[Version, Answer] = {}

    def fetch(self, http: RegistryHttp, schema_id: int) -> Any:
        """Return the Avro schema of an id with all referenced schemas.

        Raises
        ------
        RefusedSchemaError
            If the id does not exist, its schema is not Avro, or a referenced schema is missing.
        NoAnswerError, SettingsError
            As `RegistryHttp`.
        """
        try:
            answer = http.schema(schema_id)
        except NotFoundError:
            raise RefusedSchemaError("is not registered") from None
        except ForbiddenError as error:
            raise RefusedSchemaError(f"{FORBIDDEN} ({error})") from None
        own = _text_of(answer)
        others = list(self._references(http, answer, [], set()))
        try:
            return whole_schema([json.loads(text) for text in (*others, own)])
        except Exception as error:  # any error of a parser makes it unusable
            raise RefusedSchemaError(f"is not an Avro schema: {error!r:.300}") from None

    def _references(
        self, http: RegistryHttp, answer: Answer, path: list[Version], done: set[Version]
    ) -> Iterator[str]:
        """Yield the referenced schemas, each after those that it references itself, once."""
        for version in _versions_in(answer):
            if version in path or len(path) >= DEEPEST or len(done) >= MOST_REFERENCES:
                raise RefusedSchemaError(
                    f"refers to {_named(version)} in a circle, or to more than {MOST_REFERENCES} "
                    "others"
                )
            if version not in done:
                referred = self._version(http, version)
                yield from self._references(http, referred, [*path, version], done)
                done.add(version)
                yield _text_of(referred)

    def _version(self, http: RegistryHttp, version: Version) -> Answer:
        if version not in self._found:
            try:
                found = http.version(*version)
            except NotFoundError:
                raise RefusedSchemaError(
                    f"refers to {_named(version)}, which is not registered any more"
                ) from None
            except ForbiddenError as error:
                raise RefusedSchemaError(
                    f"refers to {_named(version)}, which {FORBIDDEN} ({error})"
                ) from None
            if len(self._found) >= MOST_KEPT:
                self._found.clear()
            self._found[version] = found
        return self._found[version]


def _text_of(answer: Answer) -> str:
    kind, text = answer.get("schemaType") or "AVRO", answer.get("schema")
    if kind != "AVRO":
        raise RefusedSchemaError(f"is not an Avro schema but {kind!r:.40}")
    if not isinstance(text, str):
        raise NoAnswerError(f"an answer without a schema: {answer!r:.100}")
    if len(text) > MOST_CHARACTERS:
        raise RefusedSchemaError(f"has {len(text)} characters; at most {MOST_CHARACTERS} are read")
    return text


def _versions_in(answer: Answer) -> list[Version]:
    try:
        return [(str(r["subject"]), int(r["version"])) for r in answer.get("references") or ()]
    except (TypeError, KeyError, ValueError):
        raise NoAnswerError(f"invalid references: {answer['references']!r:.100}") from None


def _named(version: Version) -> str:
    return f"version {version[1]} of {version[0]!r:.100}"
