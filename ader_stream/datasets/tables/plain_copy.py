"""Write copies of files that DuckDB cannot read: of other compressions and encodings."""

from __future__ import annotations

import bz2
import codecs
import gzip
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from ader_stream.datasets.tables.files import PARQUET_SUFFIXES, table_suffix
from ader_stream.errors import DatasetError

if TYPE_CHECKING:
    from _typeshed import SupportsRead

_ENCODINGS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, which begins alike
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def readable_files(file: Path, folder: Path, encoding: str) -> Iterator[Path]:
    """Yield the file itself, or copies in `folder` if DuckDB cannot read it.

    Parameters
    ----------
    file
        A table; a ``.zip`` may hold several.
    folder
        Where copies are written; the caller deletes it.
    encoding
        Encoding of the text; empty for UTF-8, or for what its byte order mark says.

    Raises
    ------
    DatasetError
        The file cannot be read, or is in another encoding.
    """
    try:
        for part in _decompressed(file, folder):
            yield _in_utf8(part, folder, encoding)
    except UnicodeError as error:
        raise DatasetError(f"{file}: is not in {encoding}: {error}; correct --encoding") from None
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        raise DatasetError(f"{file}: cannot be read: {error}; is the download complete?") from None


def _decompressed(file: Path, folder: Path) -> Iterator[Path]:
    kind = file.suffix.lower()
    is_parquet = table_suffix(file.name) in PARQUET_SUFFIXES
    if kind == ".zip":
        yield from _unzipped(file, folder)
    elif kind == ".bz2":
        with bz2.open(file) as stream:
            yield _written(stream, folder / file.stem)
    elif kind == ".gz" and is_parquet:
        with gzip.open(file) as stream:
            yield _written(stream, folder / file.stem)
    else:
        yield file


def _unzipped(file: Path, folder: Path) -> Iterator[Path]:
    with zipfile.ZipFile(file) as archive:
        members = [m for m in archive.infolist() if _is_table(m)]
        if not members:
            names = ", ".join(archive.namelist()[:5]) or "nothing"
            raise DatasetError(f"{file}: holds {names}; expected tables")
        for number, member in enumerate(members):
            place = folder / str(number)
            place.mkdir(exist_ok=True)
            with archive.open(member) as stream:
                yield _written(stream, place / Path(member.filename).name)


def _is_table(member: zipfile.ZipInfo) -> bool:
    parts = Path(member.filename).parts
    is_hidden = any(part.startswith((".", "_")) for part in parts)
    return not member.is_dir() and not is_hidden and bool(table_suffix(parts[-1]))


def _written(stream: SupportsRead[bytes], path: Path) -> Path:
    with path.open("wb") as out:
        shutil.copyfileobj(stream, out, 1 << 20)
    return path


def _in_utf8(file: Path, folder: Path, encoding: str) -> Path:
    """Return the file, or its copy in UTF-8."""
    if table_suffix(file.name) in PARQUET_SUFFIXES or file.suffix.lower() == ".zst":
        return file
    with _opened(file) as stream:
        start = stream.read(4)
    found = encoding or next((name for mark, name in _ENCODINGS if start.startswith(mark)), "")
    if not found:
        return file
    path = folder / f"utf-8-{file.name.removesuffix('.gz').removesuffix('.GZ')}"
    with _opened(file) as stream, path.open("w", encoding="utf-8", newline="") as out:
        shutil.copyfileobj(codecs.getreader(found)(stream), out, 1 << 20)
    return path


@contextmanager
def _opened(file: Path) -> Iterator[IO[bytes]]:
    is_gzip = file.suffix.lower() == ".gz"
    with gzip.open(file) if is_gzip else file.open("rb") as stream:
        yield stream  # type: ignore[misc]
