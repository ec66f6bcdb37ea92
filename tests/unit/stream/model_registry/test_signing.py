from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ader_stream.errors import ArtifactError, SettingsError
from ader_stream.stream.model_registry.signing import (
    SIGNATURE_HEADER,
    Signer,
    TrustedKeys,
    key_id,
    read_signer,
    read_trusted,
    signer_of,
)

VALUE = b"a manifest"


def key(number: int) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes([number]) * 32)


def trusted(*numbers: int, required: bool = True) -> TrustedKeys:
    keys = [key(number).public_key() for number in numbers]
    return TrustedKeys({key_id(k): k for k in keys}, required)


def signed(number: int, value: bytes = VALUE) -> dict[str, bytes]:
    return dict([Signer(key(number)).header(value)])


def test_a_trusted_signature_is_taken_and_its_key_named() -> None:
    assert trusted(1).verify(VALUE, signed(1)) == key_id(key(1).public_key())


def test_while_keys_are_changed_the_old_and_the_new_one_count() -> None:
    both = trusted(1, 2)
    assert both.verify(VALUE, signed(1)) != both.verify(VALUE, signed(2))


@pytest.mark.parametrize("required", [True, False])
@pytest.mark.parametrize(
    "headers",
    [
        signed(1, b"another manifest"),
        {SIGNATURE_HEADER: signed(1)[SIGNATURE_HEADER][:-4]},
        {SIGNATURE_HEADER: signed(1)[SIGNATURE_HEADER] + "é".encode()},
        {SIGNATURE_HEADER: signed(1)[SIGNATURE_HEADER].split(b":")[0]},
        {SIGNATURE_HEADER: signed(1)[SIGNATURE_HEADER][:17] + signed(2)[SIGNATURE_HEADER][17:]},
    ],
)
def test_a_wrong_signature_is_refused_be_it_required_or_not(
    headers: dict[str, bytes], required: bool
) -> None:
    with pytest.raises(ArtifactError, match=r"signature by the key .* is wrong") as refused:
        trusted(1, required=required).verify(VALUE, headers)
    assert refused.value.reason == "signature"


@pytest.mark.parametrize(
    ("headers", "what"), [({}, "is not signed"), (signed(2), "is signed by the unknown key")]
)
def test_what_no_trusted_key_has_signed_is_refused_where_that_is_required(
    headers: dict[str, bytes], what: str
) -> None:
    assert trusted(1, required=False).verify(VALUE, headers) is None
    with pytest.raises(ArtifactError, match=what):
        trusted(1).verify(VALUE, headers)


def test_keys_that_openssl_has_written_are_read(tmp_path: Path) -> None:
    private, public = tmp_path / "key.pem", tmp_path / "public.pem"
    openssl("genpkey", "-algorithm", "ed25519", "-out", private)
    openssl("pkey", "-in", private, "-pubout", "-out", public)
    signer = read_signer(private)
    keys = read_trusted([public], required=True)
    assert keys.verify(VALUE, dict([signer.header(VALUE)])) == signer.key_id


def openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


@pytest.mark.parametrize("text", [None, "no key", "-----BEGIN PUBLIC KEY-----\n"])
def test_a_file_that_is_no_key_is_one_clear_line(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "key.pem"
    if text is not None:
        file.write_text(text)
    with pytest.raises(SettingsError, match=r"models.signing_key = .*key.pem.* Ed25519"):
        read_signer(file)
    with pytest.raises(SettingsError, match=r"models.trusted_keys = .*key.pem.* Ed25519"):
        read_trusted([file], required=True)


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    openssl("genpkey", "-algorithm", "x25519", "-out", file)
    with pytest.raises(SettingsError, match="X25519PrivateKey; expected a private Ed25519 key"):
        read_signer(file)


def test_the_key_that_a_record_names_is_reported_be_it_trusted_or_not() -> None:
    assert signer_of(signed(1)) == key_id(key(1).public_key())
    assert signer_of({}) is None
