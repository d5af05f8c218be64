"""An HDF5 file as a log: arrays in groups, at the root or, as robomimic's `data/demo_0`, of each episode."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from tiltflow.data.columns import LogColumn
from tiltflow.data.hdf5 import Hdf5Tree, list_hdf5, read_hdf5_places
from tiltflow.data.logs import PIECE_BYTES, Log, file_bounds
from tiltflow.npz import ArrayFault

_Arrays = tuple[dict[str, list[np.ndarray]], list[ArrayFault]]


def list_log(path: Path) -> Log:
    """List the arrays of the file, by their path below the root or below the group of an episode."""
    tree = list_hdf5(path)
    numbers = dict(tree.numbers)
    (root,) = tree.parts.values() if "" in tree.parts else ({},)
    bounds = [root[name] for name in ("action_low", "action_high") if name in root]
    if len(bounds) == 2 and not any(tree.shapes[place][2] for place in bounds):
        arrays, _ = read_hdf5_places(path, bounds)
        numbers |= {place.lstrip("/"): array for place, array in arrays.items()}
    return _log(path, tree, numbers)


def _log(path: Path, tree: Hdf5Tree, numbers: dict[str, np.ndarray]) -> Log:
    columns: dict[str, LogColumn] = {}
    for places in tree.parts.values():
        for name, place in places.items():
            shape, kind, fault = tree.shapes[place]
            known = columns.get(name)
            if known is None:
                columns[name] = LogColumn(shape[0] if shape else None, shape[1:], str(kind), fault)
            elif known.rows is not None and shape:
                columns[name] = known._replace(rows=known.rows + shape[0])

    def read(names: Sequence[str], rows: slice = slice(None)) -> _Arrays:
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
        all_places = [place for places in wanted.values() for place in places]
        arrays, damage = read_hdf5_places(path, all_places, rows)
        if damage:
            return {}, damage
        return {name: [arrays[place] for place in places] for name, places in wanted.items()}, []

    def read_rows(names: Sequence[str], first: int, stop: int) -> _Arrays:
        return read(names, slice(first, stop))

    def pieces() -> list[tuple[str, Log]]:
        parts = list(_some_episodes(tree))
        if len(parts) == 1:
            return [(str(path), log)]
        named = {f"{path}, {next(iter(part))} to {next(reversed(part))}": part for part in parts}
        return [(name, _log(path, tree._replace(parts=part), numbers)) for name, part in named.items()]

    bounds = file_bounds(numbers)
    if "" in tree.parts:
        return Log(columns, read, bounds=bounds, read_rows=read_rows)
    log = Log(columns, read, episodes=True, bounds=bounds, pieces=pieces)
    return log


def _some_episodes(tree: Hdf5Tree) -> Iterator[dict[str, dict[str, str]]]:
    """The parts of the tree, as many at a time as have the size of a piece."""
    some, size = dict[str, dict[str, str]](), 0
    for name, places in tree.parts.items():
        here = sum(
            math.prod(shape) * kind.itemsize
            for shape, kind, fault in map(tree.shapes.__getitem__, places.values())
            if not fault
        )
        if some and size + here > PIECE_BYTES:
            yield some
            some, size = {}, 0
        some[name] = places
        size += here
    yield some
