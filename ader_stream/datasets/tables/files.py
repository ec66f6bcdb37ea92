"""Find the tables of a data set: a file, or all of a folder and its folders."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

from ader_stream.datasets.folder import folder_hint
from ader_stream.datasets.tables.skipped import Skipped
from ader_stream.errors import DatasetError
from ader_stream.paths import describe_path

TEXT_SUFFIXES = (".csv", ".tsv", ".tab", ".dat", ".inter", ".txt")
JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")
PARQUET_SUFFIXES = (".parquet", ".pq")
SUFFIXES = (*TEXT_SUFFIXES, *JSON_SUFFIXES, *PARQUET_SUFFIXES)
COMPRESSED = (".gz", ".zst", ".bz2", ".zip")

EXPECTED = (
    "a folder of period_N.txt[.gz], or tables (.csv .tsv .dat .inter .jsonl .parquet …, also "
    f"compressed: {' '.join(COMPRESSED)}), as a file or a folder"
)

_NEVER_IN_A_FOLDER = (".txt", ".json")
"""Notes and settings lie beside tables; one that is named, or that a pattern names, is read."""


def table_suffix(name: str) -> str:
    """Return the suffix that says what a table is, without that of compression; '' if it is none.

    >>> table_suffix("CLICKS.CSV.GZ"), table_suffix("clicks.zip"), table_suffix("README.md")
    ('.csv', '.csv', '')
    """
    lower = name.lower()
    plain = next((lower.removesuffix(end) for end in COMPRESSED if lower.endswith(end)), lower)
    found = next((suffix for suffix in SUFFIXES if plain.endswith(suffix)), "")
    return ".csv" if not found and lower.endswith(".zip") else found


def table_files(path: Path, pattern: str = "") -> tuple[list[Path], Skipped]:
    """Return the table itself, or the tables in a folder and its folders by name.

    Hidden files, and those that systems write beside the data (``._x``, ``_SUCCESS``), are left
    out.

    Returns
    -------
    tuple
        The files, and the number of others.

    Raises
    ------
    DatasetError
        There is none.
    """
    if not path.is_dir():
        is_table = table_suffix(path.name) and not folder_hint(path)
        files, skipped = [path] if is_table else [], Skipped()
    else:
        files, skipped = _in_folder(path, pattern)
    if not files:
        raise DatasetError(
            f"{path} {_found(path, pattern)}; expected {EXPECTED}{folder_hint(path)}"
        )
    return files, skipped


def _in_folder(path: Path, pattern: str) -> tuple[list[Path], Skipped]:
    files: list[Path] = []
    skipped = Skipped()
    for file in sorted(path.rglob("*")):
        if not file.is_file() or file.name == "dataset.toml":
            continue
        if any(part.startswith((".", "_")) for part in file.relative_to(path).parts):
            skipped["hidden"] += 1
        elif _is_wanted(file.name, pattern):
            files.append(file)
        else:
            skipped["other"] += 1
    return files, skipped


def _is_wanted(name: str, pattern: str) -> bool:
    suffix = table_suffix(name)
    if pattern:
        return bool(suffix) and fnmatch(name.lower(), f"{pattern.lower()}*")
    return suffix not in ("", *_NEVER_IN_A_FOLDER)


def _found(path: Path, pattern: str) -> str:
    if not path.is_dir():
        return describe_path(path)
    names = ", ".join(sorted(file.name for file in path.iterdir())[:5]) or "nothing"
    return f"holds {names}" + (f", none of which is {pattern}" if pattern else "")
