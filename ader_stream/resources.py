"""Files that travel with the code: the Avro schemas, the local Kafka's pom."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parent


def resource(*parts: str) -> Path:
    """Return the path of a packaged file or folder.

    In the wheel it lies inside the package; in a checkout beside it.

    >>> resource("schemas", "Click.avsc").name
    'Click.avsc'
    """
    packaged = _PACKAGE.joinpath(*parts)
    return packaged if packaged.exists() else _PACKAGE.parent.joinpath(*parts)
