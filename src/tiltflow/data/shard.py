"""Converting data to a folder that is mapped into memory (`data/mapped_folder.py`), file by file.

The load is that of a training, audit and all. But the columns of each file that has been read go to the disk,
and so do its transitions: the memory that is needed is some times that of the largest file.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import final

import numpy as np

from tiltflow.data.columns import ColumnChoice
from tiltflow.data.formats import FileColumns
from tiltflow.data.load import Dataset, load_dataset, rows_checksum
from tiltflow.data.mapped_folder import (
    MAPPED_FORMAT,
    RECORD,
    hash_column,
    mapped_inside,
    write_columns,
)
from tiltflow.data.moments import observation_moments
from tiltflow.data.row_store import Part, RowStore, first_rows_of, refuse_unlike
from tiltflow.data.transitions import Transitions
from tiltflow.errors import UserError
from tiltflow.files import unwritable, write_json
from tiltflow.tasks import Task

_Told = Callable[[str, int, int], None]
"""(what is done, done, in all)"""


def shard(
    task: Task,
    path: Path | None,
    out: Path,
    choice: ColumnChoice | None = None,
    told: _Told = lambda *_: None,
) -> Dataset:
    """Convert the data of a task into the new folder `out`; returns them, mapped.

    Raises UserError where a training would, and where `out` is there already or cannot be written: nothing
    is left behind then.
    """
    if mapped_inside(path):
        raise UserError(f"{path} is converted already. Train on it with --data {path}.")
    with _written(out) as folder, TemporaryDirectory(dir=folder) as scratch:
        store = _OnDisk(folder, Path(scratch), told)
        dataset = load_dataset(task, path, choice, store)
        _write_record(folder, task, dataset)
    return load_dataset(task, out)


def shard_parts(task: Task, out: Path, parts: Iterable[Transitions], source: str) -> Dataset:
    """Write sound transitions, which are made part by part, to the new folder `out`; returns them, mapped.

    Each part ends an episode. Raises UserError as `shard` does.
    """
    with _written(out) as folder:
        write_columns(folder, parts)
        rows = _mapped(folder)
        _write_record(folder, task, Dataset(rows, None, rows_checksum(rows), source, ()))
    return load_dataset(task, out)


def _mapped(folder: Path) -> Transitions:
    """The columns of a folder that has no data.json yet."""
    files = {path.stem: path for path in folder.glob("*.npy")}
    return Transitions(**{name: np.load(path, mmap_mode="r") for name, path in files.items()})


def _write_record(folder: Path, task: Task, dataset: Dataset) -> None:
    """Write data.json of a folder that holds the columns of a data set already."""
    rows = dataset.train
    moments = observation_moments(rows.observations)
    columns = {}
    for name, column in rows.columns().items():
        digest = hashlib.sha256()
        hash_column(digest, column)
        kind, shape = str(column.dtype), list(column.shape[1:])
        columns[name] = {"dtype": kind, "shape": shape, "sha256": digest.hexdigest()}
    record = {
        "format": MAPPED_FORMAT,
        "rows": len(rows),
        "columns": columns,
        "checksum": dataset.checksum,
        "task": task.name,
        "source": dataset.source,
        "rewarded": dataset.rewarded,
        "interface": dataset.interface and dataset.interface.record(),
        "moments": {name: values.tolist() for name, values in moments._asdict().items()},
        "findings": [vars(finding) for finding in dataset.findings],
    }
    write_json(folder / RECORD, record)


@contextmanager
def _written(out: Path) -> Iterator[Path]:
    """A folder beside `out` that takes its place in the end, and is removed where there is an error."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists and is not an empty folder. Choose another one.")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.", ignore_cleanup_errors=True) as beside:
            folder = Path(beside) / out.name
            folder.mkdir()
            yield folder
            os.replace(folder, out)
    except OSError as error:
        raise unwritable(out, error) from error


@final
class _OnDisk(RowStore):
    """Columns in files of a scratch folder, transitions in those of the data set."""

    piecewise = True

    def __init__(self, folder: Path, scratch: Path, told: _Told):
        self._folder, self._scratch, self._told = folder, scratch, told
        self._expected, self._kept = 0, 0

    def expect(self, places: Sequence[Path]) -> None:
        """For the progress."""
        self._expected += len(places)

    def keep(self, columns: FileColumns) -> FileColumns:
        """In files: whatever is set later, too."""
        self._kept += 1
        folder = self._scratch / str(self._kept)
        folder.mkdir()
        self._told("reading", self._kept, self._expected)
        return _FiledColumns(folder, columns)

    def join(self, parts: Sequence[Part], equally: bool = False) -> Transitions:
        """As `RowStore.join`."""
        rows = [len(part()) for part in parts] if equally else []

        def made() -> Iterator[Transitions]:
            specs = []
            for number, part in enumerate(parts):
                here = part()
                specs.append(here.spec)
                refuse_unlike(specs)
                yield first_rows_of(here, min(rows)) if equally else here
                self._told("writing", number + 1, len(parts))

        write_columns(self._folder, made())
        try:
            return _mapped(self._folder)
        except ValueError:  # an empty file cannot be mapped
            return parts[0]()


class _FiledColumns(FileColumns):
    """Columns of which each lies in a file of its own, mapped, from when it is set."""

    def __init__(self, folder: Path, columns: FileColumns):
        super().__init__()
        self._folder, self._written = folder, 0
        for key, column in columns.items():
            self[key] = column

    def __setitem__(self, key: str, column: np.ndarray) -> None:
        if not isinstance(column, np.ndarray) or column.dtype.hasobject or not column.size:
            super().__setitem__(key, column)  # the audit will say what is wrong with it
            return
        self._written += 1
        path = self._folder / f"{self._written}.npy"
        np.save(path, column)
        super().__setitem__(key, np.load(path, mmap_mode="r+"))
