"""An export's files: what they are called, what stands in them, and how they are put on the disk."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hwm_magics.errors import ConfigError

__all__ = ["Artefact", "File", "write"]


@dataclass(frozen=True, slots=True)
class File:
    """One file.

    Attributes:
        path: Its path, relative to the artefact's folder.
        text: What stands in it.
        executable: Whether it is a program.
    """

    path: str
    text: str
    executable: bool = False


@dataclass(frozen=True, slots=True)
class Artefact:
    """What an export gives.

    Attributes:
        files: Its files, the main one first.
        notes: What whoever runs it should know, as sentences.
    """

    files: tuple[File, ...]
    notes: tuple[str, ...] = ()


def write(artefact: Artefact, folder: Path, *, overwrite: bool = False) -> tuple[Path, ...]:
    """Write an artefact's files.

    Args:
        artefact: The artefact.
        folder: Where to; made when it is not there.
        overwrite: Whether files that are there and differ may be replaced.

    Returns:
        The files' paths, the main one first.

    Raises:
        ConfigError: A file of another content is there, or the folder can't be written.
    """
    places = [(folder / file.path, file) for file in artefact.files]
    try:
        if not overwrite:
            taken = [str(path) for path, file in places if path.exists() and _differs(path, file.text)]
            if taken:
                raise ConfigError(
                    f"{', '.join(taken)} {'is' if len(taken) == 1 else 'are'} there already, with another content",
                    hint="--overwrite replaces them; --out names another folder",
                )
        for path, file in places:
            path.parent.mkdir(parents=True, exist_ok=True)
            _replace(path, file)
    except OSError as error:
        raise ConfigError(f"{error.filename or folder} can't be written: {error.strerror or error}") from None
    return tuple(path for path, _ in places)


def _differs(path: Path, text: str) -> bool:
    return path.is_dir() or path.read_bytes() != text.encode()


def _replace(path: Path, file: File) -> None:
    # A scheduler that reads the folder at this moment sees the old file or the new one.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".hwm-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as out:
            out.write(file.text)
        Path(name).chmod(0o755 if file.executable else 0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
