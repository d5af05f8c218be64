"""A data set as a folder, which training maps into memory instead of reading it: what `data shard` writes.

data.json   format, rows, columns {name: {dtype, shape of a row, sha256 of its numbers}}, checksum (of all
            columns, as of the same data in other files), task, source, rewarded, interface, moments (mean
            and standard deviation of each entry of the observations), findings (of the audit)
NAME.npy    [rows, …], the columns of `Transitions`, audited, with actions in [−1, 1]
"""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypedDict, get_args

import numpy as np
from numpy.lib import format as npy

from tiltflow.data.audit import Finding, Level
from tiltflow.data.moments import Moments
from tiltflow.data.transitions import Transitions
from tiltflow.errors import UserError
from tiltflow.files import read_object
from tiltflow.json_records import record_fault

MAPPED_FORMAT = 1
RECORD = "data.json"
_COLUMNS = {
    "observations": ("float32", 2), "actions": ("float32", 2), "rewards": ("float32", 1),
    "next_observations": ("float32", 2), "terminations": ("bool", 1), "ends": ("bool", 1),
}  # fmt: skip
_HASHED = 2**24
_AGAIN = "Convert the data again: tiltflow data shard."


def mapped_inside(path: Path | None) -> Path | None:
    """The folder, where it is one of these."""
    there = path is not None and (path / RECORD).is_file() and (path / "observations.npy").is_file()
    return path if there else None


class _Column(TypedDict):
    shape: list[int]
    sha256: str


class _Finding(TypedDict):
    level: str
    file: str
    key: str | None
    row: int | None
    text: str


class _Record(TypedDict):
    rows: int
    columns: dict[str, _Column]
    checksum: str
    task: str
    source: str
    rewarded: bool
    moments: dict[str, list[float]]
    findings: list[_Finding]


def read_record(folder: Path) -> dict[str, Any]:
    """What data.json says. Raises UserError where it is damaged or of another version."""
    file = folder / RECORD
    record = read_object(file, "format")
    if record["format"] != MAPPED_FORMAT:
        raise UserError(
            f"{file} has format {record['format']!r}; this version of tiltflow reads {MAPPED_FORMAT}. "
            f"{_AGAIN}"
        )
    if fault := record_fault(record, _Record) or _inner_fault(record):
        raise UserError(f"{file} is damaged: {fault}. {_AGAIN}")
    return record


def _inner_fault(record: dict[str, Any]) -> str:
    """What in a record of the right types does not go together."""
    if missing := [name for name in _COLUMNS if name not in record["columns"]]:
        return f"it has no 'columns.{missing[0]}'"
    sizes = {name: len(record["moments"].get(name, ())) for name in Moments._fields}
    if record["columns"]["observations"]["shape"] != [sizes["mean"]] or len({*sizes.values()}) > 1:
        return "'moments' are not those of the observations"
    levels = {finding["level"] for finding in record["findings"]} - set(get_args(Level))
    return f"'findings' have the level {min(levels)!r}" if levels else ""


def map_columns(folder: Path) -> Transitions:
    """The rows, read-only and mapped. Raises UserError naming a file that is not what data.json says."""
    record = read_record(folder)
    columns = {}
    for name, (kind, dimensions) in _COLUMNS.items():
        file = folder / f"{name}.npy"
        try:
            said = record["columns"][name]
            expected = (record["rows"], *said["shape"])
            column = np.load(file, mmap_mode="r")
            fault = "" if column.shape == expected else f"has the shape {column.shape}, not {expected}"
        except Exception as error:  # whatever the decoder throws, the file is what it cannot read
            fault = f"cannot be read ({error})"
        if not fault and (column.dtype != kind or column.ndim != dimensions or not column.flags.c_contiguous):
            fault = f"holds {column.dtype} in {column.ndim} dimension(s), not {kind} in {dimensions}"
        if fault:
            raise UserError(f"{file} {fault}: {folder} is damaged. {_AGAIN}")
        columns[name] = column
    return Transitions(**columns)


def stored_findings(record: dict[str, Any]) -> list[Finding]:
    """What the audit said when the data were converted."""
    keys = _Finding.__annotations__
    return [Finding(**{key: finding[key] for key in keys}) for finding in record["findings"]]


def verify(folder: Path) -> list[Finding]:
    """The findings of the conversion, and an error of each file that has changed since then."""
    return stored_findings(read_record(folder)) + changed_columns(folder)


def changed_columns(folder: Path) -> list[Finding]:
    """An error of each file that has changed since the conversion."""
    record, rows, findings = read_record(folder), map_columns(folder), list[Finding]()
    for name, column in rows.columns().items():
        digest = hashlib.sha256()
        hash_column(digest, column)
        if digest.hexdigest() != record["columns"][name]["sha256"]:
            text = "has changed since it was written: its checksum is another one. Convert the data again."
            findings.append(Finding("error", str(folder / f"{name}.npy"), name, None, text))
    return findings


def hash_column(digest: Any, column: np.ndarray) -> None:
    """Add the numbers of a column to a digest, block by block."""
    step = max(1, _HASHED // max(column[:1].nbytes, 1))
    for first in range(0, len(column), step):
        digest.update(np.ascontiguousarray(column[first : first + step]).data)


class _ColumnFile:
    """An npy file to which rows are added; its header says how many once it is closed."""

    def __init__(self, path: Path, first: np.ndarray):
        self._file, self._rows, self._like = path.open("wb"), 0, first
        self._begin = self._write_header()

    def add(self, rows: np.ndarray) -> None:
        """Add rows, all of one shape and type."""
        np.ascontiguousarray(rows).tofile(self._file)
        self._rows += len(rows)

    def close(self) -> None:
        """Write the header anew, which NumPy leaves room for, and have all on the disk."""
        self._file.flush()
        self._file.seek(0)
        end = self._write_header()
        assert end == self._begin
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def _write_header(self) -> int:
        kind, shape = npy.dtype_to_descr(self._like.dtype), (self._rows, *self._like.shape[1:])
        npy.write_array_header_1_0(self._file, {"descr": kind, "fortran_order": False, "shape": shape})
        return self._file.tell()


def write_columns(folder: Path, parts: Iterable[Transitions]) -> None:
    """Write the rows of the parts, one after the other, to the files of a folder."""
    files: dict[str, _ColumnFile] = {}
    for part in parts:
        for name, column in part.columns().items():
            if name not in files:
                files[name] = _ColumnFile(folder / f"{name}.npy", column[:0])
            files[name].add(column)
    for file in files.values():
        file.close()
