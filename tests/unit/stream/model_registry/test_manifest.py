from __future__ import annotations

import io
import json
from typing import Any

import fastavro
import pytest
from fastavro.schema import fingerprint, to_parsing_canonical_form

from ader_stream.artifact import KINDS, sha256
from ader_stream.errors import ArtifactError
from ader_stream.runtime.resources import resource
from ader_stream.stream.avro.codec import SCHEMA_HEADER, TYPE_HEADER, encode
from ader_stream.stream.avro.plain import to_plain
from ader_stream.stream.model_registry.manifest import FORMAT
from ader_stream.stream.model_registry.manifest_record import (
    CHECKSUM_HEADER,
    MAX_MANIFEST,
    Trust,
    decode_manifest_bytes,
    encode_manifest,
    require_counts,
)
from tests.fakes import complete_manifest, described_part

ANY = Trust()


def refused(value: bytes, headers: Any, trust: Trust = ANY) -> ArtifactError:
    with pytest.raises(ArtifactError) as refused:
        decode_manifest_bytes(value, headers, trust)
    return refused.value


def test_a_manifest_comes_back() -> None:
    manifest = complete_manifest(3)
    assert decode_manifest_bytes(*encode_manifest(manifest), ANY) == manifest


def test_changed_bytes_are_refused_before_they_are_parsed() -> None:
    value, headers = encode_manifest(complete_manifest())
    error = refused(value[:-1], [(TYPE_HEADER, b"Nonsense"), headers[-1]])
    assert (error.reason, str(error)) == (
        "manifest",
        "manifest's bytes are not those that were published",
    )


def test_a_manifest_without_a_checksum_is_refused() -> None:
    assert "no checksum" in str(refused(*encode("ModelManifest", to_plain(complete_manifest()))))


def test_the_format_before_is_read() -> None:
    older = json.loads(resource("schemas", "older", f"ModelManifest.{FORMAT - 1}.avsc").read_text())
    manifest = complete_manifest(2, format=FORMAT - 1)
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(older), to_plain(manifest))
    print_ = fingerprint(to_parsing_canonical_form(older), "CRC-64-AVRO").encode()
    headers = [
        (TYPE_HEADER, b"ModelManifest"),
        (SCHEMA_HEADER, print_),
        (CHECKSUM_HEADER, sha256(buffer.getvalue()).encode()),
    ]
    assert decode_manifest_bytes(buffer.getvalue(), headers, ANY) == manifest


def test_the_first_format_has_no_checksum_and_is_read() -> None:
    older = json.loads(resource("schemas", "older", "ModelManifest.1.avsc").read_text())
    buffer = io.BytesIO()
    manifest = complete_manifest(2, format=1)
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(older), to_plain(manifest))
    print_ = fingerprint(to_parsing_canonical_form(older), "CRC-64-AVRO").encode()
    headers = [(TYPE_HEADER, b"ModelManifest"), (SCHEMA_HEADER, print_)]
    found = decode_manifest_bytes(buffer.getvalue(), headers, ANY)
    assert found == manifest


@pytest.mark.parametrize(
    ("value", "headers"),
    [
        encode_manifest(complete_manifest(format=FORMAT + 1)),
        (b"x", [(TYPE_HEADER, b"ModelManifest"), (CHECKSUM_HEADER, sha256(b"x").encode())]),
    ],
)
def test_a_newer_format_or_schema_is_distinguished_from_damage(value: bytes, headers: Any) -> None:
    error = refused(value, headers)
    assert (error.reason, "update" in str(error)) == ("newer-format", True)


def test_another_type_than_a_manifest_is_refused() -> None:
    assert "found a Watermark" in str(refused(*encode("Watermark", {"stream_time": 1})))


def test_a_huge_manifest_is_refused_unread() -> None:
    assert refused(b"\0" * (MAX_MANIFEST + 1), []).reason == "too-large"


def test_a_version_above_the_limit_is_refused() -> None:
    error = refused(*encode_manifest(complete_manifest()), Trust(max_bytes=3))
    assert (error.reason, str(error)) == (
        "too-large",
        "version 1 has 4 bytes; models.max_bytes allows 3",
    )


@pytest.mark.parametrize(
    "lie",
    [
        {"version": 0},
        {"blocks": []},
        {"parent": 1},
        {"predecessor": 1},
        {"status": "perhaps"},
        {"parts": []},
        {"parts": [described_part(kind) for kind in (*KINDS, "weights")]},
        {"parts": [described_part(kind) for kind in ("a", "b", "c", "d")]},
        {"parts": [described_part(k) | {"size": 2} for k in KINDS]},
        {"parts": [described_part(k) | {"sha256": "x" * 64} for k in KINDS]},
        {"parts": [described_part(k) | {"chunks": [{"size": -1, "sha256": "0" * 64}] * 2,
                                   "size": -2} for k in KINDS]},
        {"run": {"places": []}},
        {"digest": "0" * 64},
    ],
)  # fmt: skip
def test_a_manifest_that_contradicts_itself_is_refused(lie: dict[str, Any]) -> None:
    assert refused(*encode_manifest(complete_manifest(**lie))).reason == "manifest"


def test_rows_that_the_report_denies_are_refused() -> None:
    manifest = complete_manifest()
    require_counts(manifest, items=0, exemplars=0)
    with pytest.raises(ArtifactError, match="version 1 has 7 items; its manifest says 0"):
        require_counts(manifest, items=7)
