"""Download Apache Kafka from Maven Central once, into a cache folder."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import structlog

from ader_stream.errors import BrokerError
from ader_stream.local_kafka.commands import require_program, run
from ader_stream.runtime.resources import resource

log = structlog.get_logger(__name__)


def fetch_jars(cache: Path, pom: Path | None = None) -> Path:
    """Return the folder with the broker's jars; the first time Maven downloads them (45 MB).

    The folder appears complete or not at all, even if the download fails, and its name is the
    digest of `pom`.

    Parameters
    ----------
    cache
        Folder for the jars of all versions.
    pom
        Names the jars; the packaged one by default.

    Raises
    ------
    BrokerError
        If the jars are missing, and Maven is missing or fails.
    """
    pom = pom or resource("deploy", "kafka", "pom.xml")
    digest = hashlib.sha256(pom.read_bytes()).hexdigest()[:12]
    jars = cache / f"kafka-{digest}"
    if not jars.is_dir():
        _download(pom, jars)
    return jars


def kafka_version(jar_names: str) -> str:
    """Return Kafka's version from the names of its jars.

    >>> kafka_version("kafka-clients-4.1.0.jar kafka-server-4.1.0.jar")
    '4.1.0'
    """
    _, found, rest = jar_names.partition("kafka-clients-")
    return rest.partition(".jar")[0] if found else "unknown"


def _download(pom: Path, jars: Path) -> None:
    try:
        require_program("mvn")
    except BrokerError as error:
        raise BrokerError(f"{error}: Maven downloads Kafka the first time") from None
    log.info("downloading Apache Kafka", into=str(jars))
    jars.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=jars.parent) as unfinished:
        run(
            [
                "mvn",
                "--batch-mode",
                "--quiet",
                f"--file={pom}",
                "dependency:copy-dependencies",
                "-DincludeScope=runtime",
                f"-DoutputDirectory={unfinished}/jars",
            ]
        )
        _move(Path(unfinished, "jars"), jars)


def _move(downloaded: Path, jars: Path) -> None:
    try:
        downloaded.rename(jars)
    except OSError:
        if not jars.is_dir():  # otherwise another process was faster, with the same jars
            raise
