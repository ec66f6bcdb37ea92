"""Describe what is at a path that the user gave, for error messages."""

from __future__ import annotations

from pathlib import Path

from ader_stream.errors import InputError


def describe_path(path: Path) -> str:
    """Return what is at a path, as the end of a sentence that starts with its name.

    >>> describe_path(Path("/")), describe_path(Path("/no such folder"))
    ('is a folder', 'does not exist')
    """
    try:
        if path.is_dir():
            return "is a folder"
        if path.is_file():
            return "is a file"
        if path.exists():
            return "is neither a file nor a folder"
        return "is a link to a path that does not exist" if path.is_symlink() else "does not exist"
    except OSError as error:
        return f"cannot be read ({error.strerror})"


def require_folder(folder: Path, expected: str) -> None:
    """Raise `InputError` if a path is not a folder; `expected` says what it must contain or be."""
    if (found := describe_path(folder)) != "is a folder":
        raise InputError(f"{folder} {found}; expected {expected}")


def make_folder(folder: Path, purpose: str) -> None:
    """Make a folder and its parent folders; `purpose` is the option that names it, or its use.

    Raises
    ------
    InputError
        It cannot be made: a file is in its place, or the user may not write there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        found = ((place, describe_path(place)) for place in (folder, *folder.parents))
        at, what = next((place, what) for place, what in found if what != "does not exist")
        raise InputError(
            f"{purpose} {folder}: cannot be made ({error.strerror}): {at} {what}; "
            "name a folder that can be made and written to"
        ) from None


def write_new_text(file: Path, text: str, option: str) -> None:
    """Write the file that an option names.

    Raises
    ------
    InputError
        It cannot be written.
    """
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(
            f"{option} {file}: cannot be written ({error.strerror}); its folder {file.parent} "
            f"{describe_path(file.parent)}; name a file in a folder that you may write to"
        ) from None
