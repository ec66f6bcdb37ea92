"""Find free ports on this machine; all local servers listen on 127.0.0.1 only."""

from __future__ import annotations

import socket

from ader_stream.errors import InputError

HOST = "127.0.0.1"
USUAL_PORT = 9092


def is_free(port: int) -> bool:
    """Return whether a server could listen on this port now."""
    with socket.socket() as probe:
        # Servers set it too: a port with old connections in TIME_WAIT is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Return a free port, chosen by the system."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
    return port


def choose_port(asked: int | None) -> int:
    """Return the requested port, else the usual one, else any free one.

    Raises
    ------
    InputError
        If the requested port is taken.
    """
    if asked is None:
        return USUAL_PORT if is_free(USUAL_PORT) else free_port()
    if not is_free(asked):
        raise InputError(
            f"port {asked} is taken or not allowed; name another one with --port, "
            "or none for any free one"
        )
    return asked
