"""The arrays of an npz file as a log."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tiltflow.data.columns import LogColumn
from tiltflow.data.logs import Log, file_bounds
from tiltflow.npz import ArrayFault, list_npz, read_npz


def list_log(path: Path) -> Log:
    """List the arrays of the file."""
    columns = {}
    for name, (shape, kind) in list_npz(path).items():
        unusable = "" if kind.kind in "fiub" else f"has the dtype {kind}, not a number."
        columns[name] = LogColumn(shape[0] if shape else None, shape[1:], str(kind), unusable)

    def read(names: Sequence[str]) -> tuple[dict[str, list[np.ndarray]], list[ArrayFault]]:
        arrays, faults = read_npz(path, names)
        return {name: [array] for name, array in arrays.items()}, faults

    bounds = [name for name in ("action_low", "action_high") if name in columns]
    return Log(columns, read, bounds=file_bounds(read_npz(path, bounds)[0]))
