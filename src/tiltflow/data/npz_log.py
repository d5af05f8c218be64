"""The arrays of an npz file as a log."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from tiltflow.data.columns import LogColumn
from tiltflow.data.logs import PIECE_BYTES, Log, file_bounds
from tiltflow.npz import ArrayFault, list_npz, read_npz, read_stored_rows, stored_arrays

_Parts = dict[str, list[np.ndarray]]


def list_log(path: Path) -> Log:
    """List the arrays of the file."""
    columns = {}
    for name, (shape, kind) in list_npz(path).items():
        unusable = "" if kind.kind in "fiub" else f"has the dtype {kind}, not a number."
        columns[name] = LogColumn(shape[0] if shape else None, shape[1:], str(kind), unusable)

    def read(names: Sequence[str]) -> tuple[dict[str, list[np.ndarray]], list[ArrayFault]]:
        arrays, faults = read_npz(path, names)
        return {name: [array] for name, array in arrays.items()}, faults

    def read_rows(names: Sequence[str], first: int, stop: int) -> tuple[_Parts, list[ArrayFault]]:
        there = stored()
        if not there:
            return {}, [ArrayFault(None, "is packed.")]
        try:
            return {name: [read_stored_rows(path, there[name], first, stop)] for name in names}, []
        except (OSError, EOFError) as error:
            return {}, [ArrayFault(None, f"is cut off or damaged ({error}). Copy or make the file again.")]

    bounds = [name for name in ("action_low", "action_high") if name in columns]
    stored = cache(lambda: stored_arrays(path))
    large = path.stat().st_size > PIECE_BYTES
    of_actions = file_bounds(read_npz(path, bounds)[0])
    return Log(columns, read, bounds=of_actions, read_rows=read_rows if large else None)
