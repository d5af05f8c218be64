"""An HDF5 file as a log: arrays in groups, at the root or, as robomimic's `data/demo_0`, of each episode."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tiltflow.data.columns import LogColumn
from tiltflow.data.hdf5 import list_hdf5, read_hdf5_places
from tiltflow.data.logs import Log, file_bounds
from tiltflow.npz import ArrayFault


def list_log(path: Path) -> Log:
    """List the arrays of the file, by their path below the root or below the group of an episode."""
    tree = list_hdf5(path)
    columns: dict[str, LogColumn] = {}
    for places in tree.parts.values():
        for name, place in places.items():
            shape, kind, fault = tree.shapes[place]
            known = columns.get(name)
            if known is None:
                columns[name] = LogColumn(shape[0] if shape else None, shape[1:], str(kind), fault)
            elif known.rows is not None and shape:
                columns[name] = known._replace(rows=known.rows + shape[0])

    def read(names: Sequence[str]) -> tuple[dict[str, list[np.ndarray]], list[ArrayFault]]:
        faults = [
            ArrayFault(name, f"is not in {part}, which is an episode.")
            for name in names
            for part, places in tree.parts.items()
            if name not in places
        ]
        if faults:
            return {}, faults
        wanted = {name: [places[name] for places in tree.parts.values()] for name in names}
        faulty = [(name, tree.shapes[place][2]) for name, places in wanted.items() for place in places]
        faults = [ArrayFault(name, fault) for name, fault in faulty if fault]
        if faults:
            return {}, faults[:1]
        arrays, damage = read_hdf5_places(path, [place for places in wanted.values() for place in places])
        if damage:
            return {}, damage
        return {name: [arrays[place] for place in places] for name, places in wanted.items()}, []

    numbers = dict(tree.numbers)
    (root,) = tree.parts.values() if "" in tree.parts else ({},)
    bounds = [root[name] for name in ("action_low", "action_high") if name in root]
    if len(bounds) == 2 and not any(tree.shapes[place][2] for place in bounds):
        arrays, _ = read_hdf5_places(path, bounds)
        numbers |= {place.lstrip("/"): array for place, array in arrays.items()}
    return Log(columns, read, episodes="" not in tree.parts, bounds=file_bounds(numbers))
