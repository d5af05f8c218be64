"""The data of a run as files that its processes map into memory, so that they are loaded once."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tiltflow.data.held_out import hold_out
from tiltflow.data.interface import stored_interface
from tiltflow.data.load import Dataset
from tiltflow.data.moments import observation_moments, stored_moments
from tiltflow.data.transitions import ChosenRows, Transitions
from tiltflow.files import read_object, unwritable, write_json
from tiltflow.run_folder import RunFolder

_RECORDED = "recorded"
_CHOSEN = "chosen.npy"


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
        _save(folder, dataset.train)
        if dataset.held_out is not None:
            _save(folder / _RECORDED, dataset.held_out.recorded)
    except OSError as error:
        raise unwritable(folder, error) from error
    record: dict[str, Any] = {"checksum": dataset.checksum, "source": dataset.source}
    record["rewarded"] = dataset.rewarded
    if dataset.train.mapped:
        moments = dataset.moments or observation_moments(dataset.train.observations)
        record["moments"] = {name: values.tolist() for name, values in moments._asdict().items()}
    if dataset.interface is not None:
        record["interface"] = dataset.interface.record()
    write_json(folder / "data.json", record)


def _save(folder: Path, rows: Transitions) -> None:
    """What lies in a file is not copied: that file is named, and which of its rows are meant."""
    folder.mkdir()
    for name, column in rows.columns().items():
        place = folder / f"{name}.npy"
        if isinstance(column, ChosenRows):
            np.save(folder / _CHOSEN, column.numbers)
            column = column.column
        if isinstance(column, np.memmap) and column.filename is not None:
            place.symlink_to(Path(column.filename).resolve())
        else:
            np.save(place, column)


def read_shared_data(run: RunFolder, held_out: float) -> Dataset:
    """The rows that the process which started this one keeps for it, read-only and mapped into memory.

    `held_out` is the share of the episodes that the run is scored on, where it is not played.
    """
    folder = run.shared_data
    record = read_object(folder / "data.json", "checksum", "source", "rewarded")
    train = _mapped(folder)
    interface = stored_interface(record, train.spec, str(folder / "data.json"))
    dataset = Dataset(train, None, record["checksum"], record["source"], (), interface, record["rewarded"])
    dataset = replace(dataset, moments=stored_moments(record.get("moments")))
    if not (folder / _RECORDED).is_dir():
        return dataset
    _, scored_on = hold_out(_mapped(folder / _RECORDED), held_out)
    return replace(dataset, validation=scored_on.rows, held_out=scored_on)


def _mapped(folder: Path) -> Transitions:
    columns: dict[str, Any] = {path.stem: np.load(path, mmap_mode="r") for path in folder.glob("*.npy")}
    if (numbers := columns.pop(Path(_CHOSEN).stem, None)) is not None:
        for name in ("observations", "actions", "next_observations"):
            columns[name] = ChosenRows(columns[name], np.array(numbers))
    return Transitions(**columns)


def remove_shared_data(run: RunFolder) -> None:
    """Remove what is there, also of a training that was killed: whoever holds the lock of the run may."""
    folder = run.shared_data
    if folder.is_symlink():
        folder.unlink()
    else:
        shutil.rmtree(folder, ignore_errors=True)
