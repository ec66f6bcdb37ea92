"""Identify the code that made a version: the release, and the hash of the method's source."""

from __future__ import annotations

import functools
import hashlib
import platform
import sys
from importlib.metadata import version as installed
from pathlib import Path

from confluent_kafka import libversion

from ader_stream.runtime.resources import resource

HASH_DIGITS = 12
"""Characters of the source's SHA-256: enough to distinguish two states of it."""


@functools.cache
def code_version() -> str:
    """Return the version of ader-stream, and the hash of the method's source.

    >>> code_version() == code_version()
    True
    """
    return f"{installed('ader-stream')}+{source_hash(resource('ader'))}"


def describe_build() -> dict[str, str]:
    """Return what this process runs, by the labels of `ader_build_info`.

    >>> sorted(describe_build())
    ['code', 'librdkafka', 'python', 'torch', 'version']
    """
    version, code = code_version().rsplit("+", 1)
    torch = sys.modules.get("torch")  # it is not imported for its version
    return {
        "version": version,
        "code": code,
        "python": platform.python_version(),
        "torch": str(torch.__version__) if torch else "",
        "librdkafka": libversion()[0],
    }


def source_hash(folder: Path) -> str:
    """Hash every Python file below a folder, with its path relative to the folder."""
    digest = hashlib.sha256()
    files = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*.py")}
    for place, file in sorted(files.items()):
        digest.update(f"{place} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()[:HASH_DIGITS]
