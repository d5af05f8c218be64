"""Writing files so that a crash leaves the old one or the new one, never half of one."""

import errno
import fcntl
import json
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from tiltflow.errors import UserError

_TEMPORARY = ".writing"
_HELD: dict[Path, tuple[Path, int, int]] = {}
"""The folders that this process works in, and a file of each, which it is on the disk."""


@contextmanager
def held(folder: Path, witness: Path) -> Iterator[None]:
    """Meanwhile nothing is written below the folder once its file `witness` is gone, or another one."""
    place, found = folder.absolute(), witness.stat()
    _HELD[place] = witness.absolute(), found.st_dev, found.st_ino
    try:
        yield
    finally:
        _HELD.pop(place, None)


def _refuse_gone(path: Path) -> None:
    """Raise UserError for a path in a held folder that was deleted or moved."""
    place = path.absolute()
    for home, (witness, *known) in _HELD.items():
        if not place.is_relative_to(home):
            continue
        with suppress(FileNotFoundError):
            found = witness.stat()
            if [found.st_dev, found.st_ino] == known:
                continue
        raise UserError(
            f"The folder {home} was deleted or moved while it was written to. Nothing more is written. From "
            "where it was moved to, the command can be continued."
        )


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path` for writing; on success it is synced and renamed to `path`.

    Raises UserError naming `path` where it cannot be written, to the end: a disk may be full.
    """
    _refuse_gone(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.parent / f".{path.name}.{secrets.token_hex(4)}{_TEMPORARY}"
        handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    except OSError as error:
        raise unwritable(path, error) from error
    try:
        with os.fdopen(handle, "wb") as file:
            with suppress(OSError):  # says that somebody writes it; not every file system can
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise unwritable(path, error) from error
        raise


def remove_abandoned(folder: Path) -> None:
    """Remove the temporary files below a folder whose writers are dead."""
    for path in folder.rglob(f".*{_TEMPORARY}"):
        with suppress(OSError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


def unwritable(path: Path, error: OSError) -> UserError:
    """The error of a file that could not be written, naming it and the reason."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    advice = "Free some room there" if full else "Choose a folder that you may write to"
    return UserError(f"Cannot write {path}: {error.strerror or error}. {advice}, then repeat the command.")


def open_to_append(path: Path) -> BinaryIO:
    """Open a file to add to its end. Raises UserError naming it, also where it is a link to another file.

    A folder may come from somebody else: what is added must not end in a file that a link in it names.
    """
    _refuse_gone(path)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UserError(
                f"{path} is a link to another file, which is not written to. Delete it."
            ) from error
        raise unwritable(path, error) from error
    return os.fdopen(handle, "ab")


def append_line(path: Path, line: str) -> None:
    """Add one line to a file and have it on the disk. Raises UserError as `open_to_append` does."""
    with open_to_append(path) as file:
        left = memoryview(line.encode() + b"\n")
        try:
            while left:
                left = left[os.write(file.fileno(), left) :]
            os.fsync(file.fileno())
        except OSError as error:
            raise unwritable(path, error) from error


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` in UTF-8, atomically."""
    with atomic_file(path) as file:
        file.write(text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write `value` to `path` as indented JSON, atomically."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_json_lines(path: Path, records: Iterable[dict[str, Any]]) -> None:
    """Write one JSON object a line to `path`, atomically."""
    write_text(path, "".join(json.dumps(record) + "\n" for record in records))


def read_json(path: Path) -> Any:
    """Read a JSON file. Raises UserError naming the file where it is missing or not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read as JSON: {error}") from error


def read_object(path: Path, *keys: str) -> dict[str, Any]:
    """Read a JSON file that holds an object with these keys. Raises UserError naming the file and the key."""
    record = read_json(path)
    fault = "" if isinstance(record, dict) else "it holds no JSON object"
    if missing := [key for key in keys if not fault and key not in record]:
        fault = f"it has no {missing[0]!r}"
    if fault:
        raise UserError(f"{path} is damaged: {fault}. Restore it from a copy, or train into a new folder.")
    return record


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """Read a JSON-lines file of objects. A missing file is empty.

    A last line that a crash cut off, which has no end, is left out. Raises UserError naming any other line
    that is no JSON object.
    """
    if not path.exists():
        return []
    records = []
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as lines of JSON: {error}") from error
    for number, line in enumerate(lines, start=1):
        unfinished = number == len(lines)
        if unfinished and not line:
            break
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            if unfinished:
                break
            raise UserError(f"{path}, line {number}, is not JSON: {error}") from error
        if not isinstance(record, dict):
            raise UserError(f"{path}, line {number}, is no JSON object.")
        records.append(record)
    return records
