"""Writing files so that a crash leaves the old one or the new one, never half of one."""

import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from tiltflow.errors import UserError


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path` for writing; on success it is synced and renamed to `path`.

    Raises UserError where the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise UserError(
            f"Cannot write {path}: {error.strerror or error}. Choose a folder that you may write to."
        ) from error
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


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
        return json.loads(path.read_text())
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist.") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as JSON: {error}") from error


def read_object(path: Path, *keys: str) -> dict[str, Any]:
    """Read a JSON file that holds an object with these keys. Raises UserError naming the file and the key."""
    record = read_json(path)
    if not isinstance(record, dict):
        raise UserError(
            f"{path} is damaged: it holds no JSON object. Restore it from a copy, or train into a new folder."
        )
    for key in keys:
        if key not in record:
            raise UserError(
                f"{path} is damaged: it has no {key!r}. Restore it from a copy, or train into a new folder."
            )
    return record


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """Read a JSON-lines file; a last line that a crash cut off is left out. A missing file is empty."""
    if not path.exists():
        return []
    records = []
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as lines of JSON: {error}") from error
    for number, line in enumerate(lines, start=1):
        try:
            records.append(json.loads(line))
        except ValueError as error:
            if number == len(lines):
                break
            raise UserError(f"{path}, line {number}, is not JSON: {error}") from error
    return records
