"""Describe the TLS handshake with a broker in OpenSSL's words: the client reports little."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from pathlib import Path

HANDSHAKE_SECONDS = 2.0


def speaks_tls(server: str) -> bool:
    """Return whether a server, host:port, answers a TLS handshake, with any certificate."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        _shake_hands(server, context)
    except (OSError, ValueError):
        return False
    return True


def certificate_complaint(server: str, properties: Mapping[str, object]) -> str:
    """Return the problem with a server's certificate, by librdkafka's ``ssl.ca`` properties."""
    try:
        _shake_hands(server, _context(properties))
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    except (OSError, ValueError) as error:
        return str(error)
    return "the client gives no reason"


def _context(properties: Mapping[str, object]) -> ssl.SSLContext:
    where, pem = properties.get("ssl.ca.location"), properties.get("ssl.ca.pem")
    path = str(where) if where and where != "probe" else None
    is_folder = path is not None and Path(path).is_dir()
    return ssl.create_default_context(
        cafile=None if is_folder else path,
        capath=path if is_folder else None,
        cadata=str(pem) if pem else None,
    )


def _shake_hands(server: str, context: ssl.SSLContext) -> None:
    host, _, port = server.rpartition(":")
    host = host.strip("[]")
    with (
        socket.create_connection((host, int(port)), HANDSHAKE_SECONDS) as connection,
        context.wrap_socket(connection, server_hostname=host),
    ):
        pass
