"""Reading HDF5 files of strangers: only what lies in the file itself, and no more than it can hold.

An HDF5 file can name other files to read from (external storage, external links, virtual data sets) and
declare arrays of any size that it does not store (fill values). All of these are refused, and soft links too.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tiltflow.errors import UserError
from tiltflow.npz import ArrayFault
from tiltflow.packages import require
from tiltflow.sizes import excess

_ELSEWHERE = "Only arrays that lie in the file itself are read."


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
                if (fault := _link_fault(file, key)) or (fault := _array_fault(file[key])):
                    faults.append(ArrayFault(key, fault))
                else:
                    there[key] = file[key]
            if fault := excess(sum(_bytes(array) for array in there.values()), path.stat().st_size):
                return {}, [ArrayFault(None, fault)]
            for key, array in there.items():
                arrays[key] = _values(array)
    except UserError:
        raise
    except Exception as error:  # whatever the library throws, the file is what it cannot read
        return {}, [ArrayFault(None, f"is cut off or damaged ({error}). Copy or make it again.")]
    return arrays, faults


def check_hdf5(path: Path) -> None:
    """Raise UserError where anything in the file leads out of it, or declares what it cannot hold.

    For files that another library then reads: every group and array is looked at.
    """
    h5py = require("h5py")
    try:
        with h5py.File(path, "r") as file:
            fault = _tree_fault(h5py, file, path.stat().st_size)
    except Exception as error:
        raise UserError(f"{path} is cut off or damaged ({error}). Copy or make it again.") from error
    if fault:
        raise UserError(f"{path} {fault}")


def _tree_fault(h5py: Any, file: Any, stored: int) -> str:
    declared, seen, waiting = 0, set[int](), [file]
    while waiting:
        group = waiting.pop()
        for name in group:
            where = f"holds {group.name.rstrip('/')}/{name}, which"
            if fault := _link_fault(group, name):
                return f"{where} {fault}"
            thing = group[name]
            place = h5py.h5o.get_info(thing.id).addr
            if place in seen:  # a second name of the same thing, which may be a group around this one
                continue
            seen.add(place)
            if isinstance(thing, h5py.Group):
                waiting.append(thing)
            elif isinstance(thing, h5py.Dataset):
                if fault := _outside_fault(thing):
                    return f"{where} {fault}"
                declared += _bytes(thing)
    return excess(declared, stored)


def _link_fault(group: Any, name: str) -> str:
    """What is wrong with how the group names a thing; empty for a plain (hard) link."""
    h5py = require("h5py")
    try:
        link = group.get(name, getlink=True)
    except Exception:
        return f"is a link of an unknown kind. {_ELSEWHERE}"
    match link:
        case h5py.HardLink():
            return ""
        case h5py.ExternalLink():
            return f"is a link into the file {link.filename!r}. {_ELSEWHERE}"
    return f"is a link to {getattr(link, 'path', 'another place')!r}. {_ELSEWHERE}"


def _array_fault(thing: Any) -> str:
    if not isinstance(thing, require("h5py").Dataset):
        return "is a group, not an array."
    if thing.dtype.hasobject or thing.dtype.kind not in "fiub":
        return f"has the dtype {thing.dtype}, not a number."
    return _outside_fault(thing)


def _outside_fault(array: Any) -> str:
    if array.external:
        return f"is stored in the file {array.external[0][0]!r}. {_ELSEWHERE}"
    if array.is_virtual:
        sources = ", ".join(repr(source.file_name) for source in array.virtual_sources()[:2])
        return f"is a view of the file {sources}. {_ELSEWHERE}"
    return ""


def _bytes(array: Any) -> int:
    return 0 if array.shape is None else array.size * array.dtype.itemsize


def _values(array: Any) -> np.ndarray:
    return np.zeros(0, array.dtype) if array.shape is None else array[...]
