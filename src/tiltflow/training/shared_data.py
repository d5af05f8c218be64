"""The data of a run as files that its processes map into memory, so that they are loaded once."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tiltflow.data.interface import stored_interface
from tiltflow.data.load import Dataset
from tiltflow.data.transitions import Transitions
from tiltflow.files import read_object, unwritable, write_json
from tiltflow.run_folder import RunFolder


@contextmanager
def data_shared(run: RunFolder, dataset: Dataset) -> Iterator[None]:
    """Keep the rows that are trained on in the run folder for its processes, and remove them at the end.

    Raises UserError where they cannot be written.
    """
    try:
        _write(run.shared_data, dataset)
        yield
    finally:
        remove_shared_data(run)


def _write(folder: Path, dataset: Dataset) -> None:
    try:
        folder.mkdir()
        for name, column in dataset.train.columns().items():
            np.save(folder / f"{name}.npy", column)
    except OSError as error:
        raise unwritable(folder, error) from error
    record: dict[str, Any] = {"checksum": dataset.checksum, "source": dataset.source}
    if dataset.interface is not None:
        record["interface"] = dataset.interface.record()
    write_json(folder / "data.json", record)


def read_shared_data(run: RunFolder) -> Dataset:
    """The rows that the process which started this one keeps for it, read-only and mapped into memory."""
    folder = run.shared_data
    record = read_object(folder / "data.json", "checksum", "source")
    columns = {path.stem: np.load(path, mmap_mode="r") for path in folder.glob("*.npy")}
    train = Transitions(**columns)
    interface = stored_interface(record, train.spec, str(folder / "data.json"))
    return Dataset(train, None, record["checksum"], record["source"], (), interface)


def remove_shared_data(run: RunFolder) -> None:
    """Remove what is there, also of a training that was killed: whoever holds the lock of the run may."""
    folder = run.shared_data
    if folder.is_symlink():
        folder.unlink()
    else:
        shutil.rmtree(folder, ignore_errors=True)
