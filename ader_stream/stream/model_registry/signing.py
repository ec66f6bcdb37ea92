"""Ed25519 signatures of records: keys, not access to the topic, authorize a publisher.

The signature is in a header, over the exact bytes of the value, so that it is verified before any
of them is parsed: ``ader-signature: KEY-ID:BASE64``, where the key id is the start of the SHA-256
of the public key's 32 bytes. A reader may trust several keys, so that keys can be replaced.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from ader_stream.errors import ArtifactError, SettingsError

SIGNATURE_HEADER = "ader-signature"
KEY_ID_DIGITS = 16


class Signer:
    """A private key that signs records."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.key_id = key_id(key.public_key())

    def header(self, value: bytes) -> tuple[str, bytes]:
        """Return the header that signs a record's value."""
        signature = base64.b64encode(self._key.sign(value)).decode()
        return SIGNATURE_HEADER, f"{self.key_id}:{signature}".encode()


@dataclass(frozen=True)
class TrustedKeys:
    """The keys whose signatures count.

    Parameters
    ----------
    keys
        Key id → public key.
    required
        Whether a record that none of them signed is refused.
    """

    keys: Mapping[str, Ed25519PublicKey] = field(default_factory=dict)
    required: bool = False

    def verify(self, value: bytes, headers: Mapping[str, bytes]) -> str | None:
        """Return the id of the trusted key that signed a record's value; None if there is none.

        Raises
        ------
        ArtifactError
            A trusted key's signature is wrong, or there is none where one is required.
        """
        key_id_, signature = _named(headers)
        key = self.keys.get(key_id_)
        if key is None:
            if self.required:
                signed = (
                    f"is signed by the unknown key {key_id_!r:.40}" if key_id_ else "is not signed"
                )
                trusted = ", ".join(self.keys)
                raise ArtifactError(
                    f"manifest {signed}; one of {trusted} must sign it", "signature"
                )
            return None
        try:
            key.verify(base64.b64decode(signature, validate=True), value)
        except (InvalidSignature, ValueError):
            raise ArtifactError(
                f"manifest's signature by the key {key_id_} is wrong: it was changed after it was "
                "signed, or somebody else has written it",
                "signature",
            ) from None
        return key_id_


def signer_of(headers: Mapping[str, bytes]) -> str | None:
    """Return the id of the key that a record names as its signer; None if it is unsigned.

    The reader of the record verified the signature only if the key is a trusted one.
    """
    return _named(headers)[0] or None


def _named(headers: Mapping[str, bytes]) -> tuple[str, str]:
    """Return key id and signature that a record's header has; empty without the header."""
    key_id_, _, signature = (
        headers.get(SIGNATURE_HEADER, b"").decode("ascii", "replace").partition(":")
    )
    return key_id_, signature


def key_id(key: Ed25519PublicKey) -> str:
    """Return the id of a public key."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:KEY_ID_DIGITS]


def read_signer(path: Path) -> Signer:
    """Read a private key (PEM, PKCS 8); raise SettingsError if it is not an Ed25519 key."""
    try:
        key = load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _unreadable("models.signing_key", path, "private", error) from None
    if not isinstance(key, Ed25519PrivateKey):
        raise _unreadable("models.signing_key", path, "private", type(key).__name__)
    return Signer(key)


def read_trusted(paths: Sequence[Path], *, required: bool) -> TrustedKeys:
    """Read public keys (PEM); raise SettingsError if one is not an Ed25519 key."""
    keys = {}
    for path in paths:
        try:
            key = load_pem_public_key(path.read_bytes())
        except (OSError, ValueError, UnsupportedAlgorithm) as error:
            raise _unreadable("models.trusted_keys", path, "public", error) from None
        if not isinstance(key, Ed25519PublicKey):
            raise _unreadable("models.trusted_keys", path, "public", type(key).__name__)
        keys[key_id(key)] = key
    return TrustedKeys(keys, required)


def _unreadable(setting: str, path: Path, side: str, found: object) -> SettingsError:
    command = "genpkey -algorithm ed25519" if side == "private" else "pkey -in KEY -pubout"
    return SettingsError(
        f"{setting} = {path}: {found}; expected a {side} Ed25519 key in PEM, as "
        f"`openssl {command}` writes it"
    )
