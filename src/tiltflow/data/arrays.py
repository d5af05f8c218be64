"""Reading and writing the arrays of one file, npz or HDF5, without ever unpickling."""

import zipfile
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from tiltflow.data.audit import Finding
from tiltflow.errors import UserError
from tiltflow.files import atomic_file
from tiltflow.packages import require

# Every key that any of the formats uses; others (infos/…, metadata) are left unread.
KEYS = (
    "observations",
    "actions",
    "rewards",
    "next_observations",
    "terminations",
    "ends",
    "terminals",
    "timeouts",
    "qpos",
    "qvel",
    "button_states",
)


def read_arrays(path: Path) -> tuple[dict[str, np.ndarray], list[Finding]]:
    """Read the known keys of an npz or HDF5 file (told apart by content) and what is wrong with the file.

    Raises UserError where there is no such file.
    """
    if not path.is_file():
        raise UserError(f"{path} is not a file. Give --data the path of an npz or HDF5 file.")
    with path.open("rb") as file:
        start = file.read(8)
    if start.startswith(b"PK"):
        return _read_npz(path)
    if start == b"\x89HDF\r\n\x1a\n":
        return _read_hdf5(path)
    return {}, [_error(path, None, "is neither an npz nor an HDF5 file.")]


def write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write arrays to a compressed npz, atomically. Equal arrays give equal bytes."""
    with atomic_file(path) as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def write_hdf5(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write arrays to an HDF5 file, atomically. Equal arrays give equal bytes."""
    with atomic_file(path) as file, require("h5py").File(file, "w") as group:
        for key, value in arrays.items():
            group.create_dataset(key, data=value, compression="gzip", track_times=False)


def _read_npz(path: Path) -> tuple[dict[str, np.ndarray], list[Finding]]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = Counter(archive.namelist())
    except (zipfile.BadZipFile, OSError) as error:
        return {}, [_error(path, None, f"is cut off or damaged ({error}). Copy or make it again.")]
    findings = [
        _error(path, member.removesuffix(".npy"), f"is in the file {count} times; only one can be meant.")
        for member, count in members.items()
        if count > 1
    ]
    arrays = {}
    with np.load(path, allow_pickle=False) as file:
        for key in KEYS:
            if key in file.files:
                value = _read_member(path, file, key, findings)
                if value is not None:
                    arrays[key] = value
    return arrays, findings


def _read_member(path: Path, file: Any, key: str, findings: list[Finding]) -> np.ndarray | None:
    try:
        return file[key]
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        text = f"is cut off or damaged ({error}). Copy or make the file again."
    except ValueError as error:
        text = f"cannot be read: {error} Save plain numbers (float32), not Python objects."
    findings.append(_error(path, key, text))
    return None


def _read_hdf5(path: Path) -> tuple[dict[str, np.ndarray], list[Finding]]:
    h5py = require("h5py")
    arrays, findings = {}, []
    try:
        with h5py.File(path, "r") as file:
            for key in KEYS:
                if key not in file:
                    continue
                if not isinstance(file[key], h5py.Dataset):
                    findings.append(_error(path, key, "is a group, not an array."))
                elif file[key].dtype.hasobject:
                    findings.append(_error(path, key, f"has the dtype {file[key].dtype}, not a number."))
                else:
                    arrays[key] = file[key][...]
    except OSError as error:
        return {}, [_error(path, None, f"is cut off or damaged ({error}). Copy or make it again.")]
    return arrays, findings


def _error(path: Path, key: str | None, text: str) -> Finding:
    return Finding("error", str(path), key, None, text)
