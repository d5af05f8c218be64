"""Reading HDF5 files of strangers: only what lies in the file itself, and no more than it can hold.

An HDF5 file can name other files to read from (external storage, external links, virtual data sets) and
declare arrays of any size that it does not store (fill values). All of these are refused, and soft links too.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tiltflow.data.hdf5_faults import array_bytes, array_fault, link_fault, tree_fault
from tiltflow.errors import UserError
from tiltflow.npz import ArrayFault
from tiltflow.packages import require
from tiltflow.sizes import excess


def read_hdf5(path: Path, keys: Sequence[str]) -> tuple[dict[str, np.ndarray], list[ArrayFault]]:
    """The arrays of these names that the file has at its root, and what is wrong with it."""
    h5py = require("h5py")
    arrays, faults = dict[str, np.ndarray](), list[ArrayFault]()
    try:
        with h5py.File(path, "r") as file:
            there = dict[str, Any]()
            for key in keys:
                if key not in file.keys():  # noqa: SIM118  (`in file` follows links)
                    continue
                if (fault := link_fault(file, key)) or (fault := array_fault(file[key])):
                    faults.append(ArrayFault(key, fault))
                else:
                    there[key] = file[key]
            if fault := excess(sum(array_bytes(array) for array in there.values()), path.stat().st_size):
                return {}, [ArrayFault(None, fault)]
            for key, array in there.items():
                arrays[key] = _values(array)
    except UserError:
        raise
    except Exception as error:  # whatever the library throws, the file is what it cannot read
        return {}, [ArrayFault(None, _damage(error))]
    return arrays, faults


def hdf5_names(path: Path) -> list[str]:
    """What the file has at its root; nothing where it cannot be read."""
    try:
        with require("h5py").File(path, "r") as file:
            return [name for name in file if isinstance(name, str)]  # bytes are no UTF-8
    except Exception:
        return []


def hdf5_checksums(path: Path) -> bool:
    """Whether every array of the file is stored with checksums; a file that cannot be read is not asked."""
    h5py = require("h5py")

    def bare(_: str, thing: Any) -> bool | None:
        return True if isinstance(thing, h5py.Dataset) and not thing.fletcher32 else None  # None goes on

    try:
        with h5py.File(path, "r") as file:
            return not file.visititems(bare)
    except Exception:
        return True


class Hdf5Tree(NamedTuple):
    """The arrays of a file, of the whole (one part, called "") or of each of its groups of an episode."""

    parts: dict[str, dict[str, str]]
    """part -> name of an array within it -> where it is in the file."""
    shapes: dict[str, tuple[tuple[int, ...], np.dtype, str]]
    """Of each place: shape, type, and why it cannot be read, if it cannot."""
    numbers: dict[str, np.ndarray]
    """The numbers that stand as attributes at the root or above the episodes."""


def list_hdf5(path: Path) -> Hdf5Tree:
    """Everything that lies in the file itself, without reading the arrays.

    Groups that are numbered, as `demo_0`, `demo_1`, … are, at the root or in a group of it, are episodes.
    Raises UserError where the file is damaged or h5py is missing.
    """
    h5py = require("h5py")
    shapes: dict[str, tuple[tuple[int, ...], np.dtype, str]] = {}
    try:
        with h5py.File(path, "r") as file:
            above, episodes = _numbered_groups(h5py, file)
            roots = {group.name: group for group in episodes} or {"": file}
            parts = {name: _arrays_below(h5py, group, shapes) for name, group in roots.items()}
            numbers = {
                key: np.atleast_1d(value)
                for group in (file, above)
                for key, value in group.attrs.items()
                if key.startswith("action_") and np.asarray(value).dtype.kind in "fiu"
            }
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{path} {_damage(error)}") from error
    return Hdf5Tree(parts, shapes, numbers)


def read_hdf5_places(
    path: Path, places: Sequence[str], rows: slice = slice(None)
) -> tuple[dict[str, np.ndarray], list[ArrayFault]]:
    """The arrays, or their `rows`, at these places of a tree that `list_hdf5` has walked.

    And what is wrong with the file.
    """
    try:
        with require("h5py").File(path, "r") as file:
            if fault := excess(sum(array_bytes(file[place]) for place in places), path.stat().st_size):
                return {}, [ArrayFault(None, fault)]
            return {place: _values(file[place], rows) for place in places}, []
    except UserError:
        raise
    except Exception as error:
        return {}, [ArrayFault(None, _damage(error))]


def _damage(error: Exception) -> str:
    """What is wrong with a file that the library cannot read, in whatever words it says so."""
    if isinstance(error, BlockingIOError):
        return "is open in a program that writes it. Wait until that has closed it."
    return f"is cut off or damaged ({error}). Copy or make it again."


def _numbered_groups(h5py: Any, file: Any) -> tuple[Any, list[Any]]:
    """The group that holds numbered groups, and these, by their names and numbers; or the file, none.

    Where arrays lie at the root, beside the bounds of actions, they are the data.
    """
    there = [file[name] for name in file if not link_fault(file, name) and not name.startswith("action_")]
    if any(isinstance(thing, h5py.Dataset) for thing in there):
        return file, []
    for group in [file, *_groups(h5py, file).values()]:
        numbered = {
            (name[: match.start()], int(match[1]), name): inner
            for name, inner in _groups(h5py, group).items()
            if (match := re.search(r"(\d{1,18})$", name))
        }
        if numbered:
            return group, [numbered[place] for place in sorted(numbered)]
    return file, []


def _groups(h5py: Any, group: Any) -> dict[str, Any]:
    inner = {name: group[name] for name in group if not link_fault(group, name)}
    return {name: thing for name, thing in inner.items() if isinstance(thing, h5py.Group)}


def _arrays_below(h5py: Any, root: Any, shapes: dict) -> dict[str, str]:
    """name -> place of the arrays below a group, adding their shapes; links are not followed."""
    places, seen, waiting = dict[str, str](), set[int](), [("", root)]
    while waiting:
        prefix, group = waiting.pop(0)
        for name in group:
            if link_fault(group, name):
                continue
            thing = group[name]
            address = h5py.h5o.get_info(thing.id).addr
            if address in seen:
                continue
            seen.add(address)
            if isinstance(thing, h5py.Group):
                waiting.append((f"{prefix}{name}/", thing))
            elif isinstance(thing, h5py.Dataset):
                places[prefix + name] = thing.name
                shapes[thing.name] = (thing.shape or (), thing.dtype, array_fault(thing))
    return places


def check_hdf5(path: Path) -> None:
    """Raise UserError where anything in the file leads out of it, or declares what it cannot hold.

    For files that another library then reads: every group and array is looked at.
    """
    h5py = require("h5py")
    try:
        with h5py.File(path, "r") as file:
            fault = tree_fault(h5py, file, path.stat().st_size)
    except Exception as error:
        raise UserError(f"{path} {_damage(error)}") from error
    if fault:
        raise UserError(f"{path} {fault}")


def _values(array: Any, rows: slice = slice(None)) -> np.ndarray:
    return np.zeros(0, array.dtype) if array.shape is None else array[rows] if array.shape else array[...]
