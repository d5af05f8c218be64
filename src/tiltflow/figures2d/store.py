"""Finished cells on disk: NAME.npz with the points and NAME.json with the settings and numbers."""

from pathlib import Path
from typing import Any

import numpy as np

from tiltflow.figures2d.figure_plan import FigureCell
from tiltflow.files import atomic_file, read_json, write_json
from tiltflow.npz import load_npz, save_npz


def write_cell(
    folder: Path,
    cell: FigureCell,
    settings: dict[str, Any],
    numbers: dict[str, Any],
    arrays: dict[str, np.ndarray],
) -> None:
    """Store a finished cell; equal arrays give equal bytes. Raises UserError for an unwritable `folder`."""
    record = _record(folder, cell)
    record.unlink(missing_ok=True)  # while there is no record, there is no cell: points and numbers never mix
    with atomic_file(record.with_suffix(".npz")) as file:
        save_npz(file, arrays, packed=True)
    write_json(record, {"settings": settings, "numbers": numbers})


def read_numbers(folder: Path, cell: FigureCell, settings: dict[str, Any]) -> dict[str, Any] | None:
    """The numbers of a finished cell; None where there is none, or one of other settings."""
    found = stored_settings(folder, cell)
    return read_json(_record(folder, cell))["numbers"] if found == settings else None


def stored_settings(folder: Path, cell: FigureCell) -> dict[str, Any] | None:
    """The settings that a finished cell was computed with; None where there is none."""
    record = _record(folder, cell)
    return read_json(record)["settings"] if record.exists() else None


def read_cell(folder: Path, cell: FigureCell) -> dict[str, np.ndarray]:
    """The arrays of a finished cell."""
    return load_npz(_record(folder, cell).with_suffix(".npz"))


def _record(folder: Path, cell: FigureCell) -> Path:
    return folder / f"{cell.name}.json"
