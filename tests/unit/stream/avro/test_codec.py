from __future__ import annotations

import pytest

from ader_stream.errors import DecodeError
from ader_stream.stream.avro.codec import (
    SCHEMA_HEADER,
    TYPE_HEADER,
    decode,
    decode_as,
    encode,
    load_schema,
)

VALUE = {"partition": 3, "next_offset": 10, "watermark": 500}
DATA, HEADERS = encode("IdleAdvance", VALUE)


def test_headers_name_the_type_and_the_writers_schema() -> None:
    named = dict(HEADERS)
    assert named[TYPE_HEADER] == b"IdleAdvance"
    assert len(bytes.fromhex(named[SCHEMA_HEADER].decode())) == 8


def test_a_record_is_read_by_its_headers() -> None:
    assert decode(DATA, HEADERS) == ("IdleAdvance", VALUE)
    assert decode_as("IdleAdvance", DATA) == VALUE


def test_who_changes_the_headers_of_one_record_changes_no_other() -> None:
    encode("IdleAdvance", VALUE)[1].clear()
    assert encode("IdleAdvance", VALUE)[1] == HEADERS


@pytest.mark.parametrize(
    "name", [b"", b"Nothing", b"../pyproject", b"Click\0", "é".encode(), b"\xff", b"A" * 300, None]
)
def test_a_type_that_has_no_schema_is_refused(name: bytes | None) -> None:
    with pytest.raises(DecodeError, match="expected the name of a file in schemas/"):
        decode(DATA, [(TYPE_HEADER, name), (SCHEMA_HEADER, b"")])


def test_a_record_without_headers_is_refused() -> None:
    with pytest.raises(DecodeError, match=TYPE_HEADER):
        decode(DATA, None)


def test_another_schema_than_the_one_here_is_refused() -> None:
    with pytest.raises(DecodeError, match="unknown here; update this process"):
        decode(DATA, [(TYPE_HEADER, b"IdleAdvance"), (SCHEMA_HEADER, b"0" * 16)])


@pytest.mark.parametrize("data", [DATA[:-1], DATA + b"\0", b"", b"\xff" * 20, None])
def test_bytes_that_do_not_follow_the_schema_are_refused(data: bytes | None) -> None:
    with pytest.raises(DecodeError, match="IdleAdvance"):
        decode(data, HEADERS)


@pytest.mark.parametrize("name", ["../schemas/Click", "Click.avsc", "", "a/b"])
def test_no_path_hides_in_a_types_name(name: str) -> None:
    with pytest.raises(FileNotFoundError):
        load_schema(name)
