"""The format of the values in `recommendations`: ours, JSON, or Avro by a schema registry."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from ader_stream.errors import AderError, SettingsError
from ader_stream.stream.avro.codec import (
    FORMAT_HEADER,
    TYPE_HEADER,
    Headers,
    encode,
    load_schema,
)
from ader_stream.stream.schema_registry.http import (
    ForbiddenError,
    NoAnswerError,
    NotFoundError,
    RegistryAccess,
    RegistryHttp,
)

RECOMMENDATION = "Recommendation"

AVRO_ITEM_BYTES = 12
"""Most bytes of a recommended item in addition to its id: a length, a score."""

JSON_ITEM_BYTES = 48
"""The same: the names of its fields, and a score of 25 characters."""

AVRO_BYTES = 64
JSON_BYTES = 160
"""Most bytes of a recommendation in addition to key and items."""


class RecommendationFormat(NamedTuple):
    """How a recommendation is written.

    Parameters
    ----------
    encode
        Fields as in ``Recommendation.avsc`` → value and headers.
    text_bytes
        Most bytes of a text in the value.
    item_bytes, other_bytes
        Most bytes of an item in addition to its id, and of all but key and items.
    """

    encode: Callable[[Mapping[str, Any]], tuple[bytes, Headers]]
    text_bytes: Callable[[str], int]
    item_bytes: int
    other_bytes: int


def _utf8_bytes(text: str) -> int:
    return len(text.encode())


def _json_bytes(text: str) -> int:
    return len(msgspec.json.encode(text))


def _encode_avro(fields: Mapping[str, Any]) -> tuple[bytes, Headers]:
    return encode(RECOMMENDATION, fields)


def _encode_json(fields: Mapping[str, Any]) -> tuple[bytes, Headers]:
    return msgspec.json.encode(fields), _headers("json")


AVRO = RecommendationFormat(_encode_avro, _utf8_bytes, AVRO_ITEM_BYTES, AVRO_BYTES)
JSON = RecommendationFormat(_encode_json, _json_bytes, JSON_ITEM_BYTES, JSON_BYTES)


def registered(schema_id: int) -> RecommendationFormat:
    r"""Return the format of Avro behind a schema registry's five bytes: a zero and the id.

    >>> registered(7).encode(
    ...     {"session": "v", "version": 1, "time": 5, "fallback": False, "items": []}
    ... )[0][:5]
    b'\x00\x00\x00\x00\x07'
    """
    header = b"\0" + schema_id.to_bytes(4, "big")

    def encode_framed(fields: Mapping[str, Any]) -> tuple[bytes, Headers]:
        return header + encode(RECOMMENDATION, fields)[0], _headers("avro-registry")

    return AVRO._replace(encode=encode_framed, other_bytes=AVRO_BYTES + len(header))


def recommendation_format(
    name: str, topic: str, access: RegistryAccess | None
) -> RecommendationFormat:
    """Return a format by its name in the settings; that of a registry is registered first.

    Parameters
    ----------
    topic
        Its subject is the topic's name and ``-value``, as Confluent's serializers name it.

    Raises
    ------
    AderError
        If the registry does not accept the schema, or does not answer.
    SettingsError
        If no registry is named, or it refuses the credentials.
    """
    if name != "avro-registry":
        return {"avro": AVRO, "json": JSON}[name]
    if access is None:
        raise SettingsError(
            "inference.recommendations_format = avro-registry: expected clicks.registry_url, the "
            "schema registry"
        )
    subject = f"{topic}-value"
    try:
        with RegistryHttp(access) as registry:
            return registered(registry.register(subject, json.dumps(load_schema(RECOMMENDATION))))
    except (NotFoundError, ForbiddenError, NoAnswerError) as error:
        raise AderError(
            f"{access.shown}: the schema of {subject} was not registered: {error}; check the "
            "registry, or set inference.recommendations_format = avro"
        ) from None


def _headers(format_name: str) -> Headers:
    return [(TYPE_HEADER, RECOMMENDATION.encode()), (FORMAT_HEADER, format_name.encode())]
