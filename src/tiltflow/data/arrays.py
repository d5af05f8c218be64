"""Reading and writing the arrays of one file, npz or HDF5, without ever unpickling."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tiltflow.data.audit import Finding
from tiltflow.data.hdf5 import hdf5_names, read_hdf5
from tiltflow.errors import UserError
from tiltflow.files import atomic_file
from tiltflow.npz import ArrayFault, list_npz, read_npz, save_npz
from tiltflow.packages import require

# Every key that any of the formats uses; others (infos/…, metadata) are left unread.
ARRAY_KEYS = (
    "observations", "actions", "rewards", "next_observations", "terminations", "ends", "terminals",
    "timeouts", "qpos", "qvel", "button_states",
)  # fmt: skip


_VECTORS = {"observations", "actions", "next_observations"}
_NUMBERS = {"rewards", "terminations", "ends", "terminals", "timeouts"}


def in_floats(column: np.ndarray) -> np.ndarray:
    """Whole numbers and booleans as float32, or as float64 where they are too large; others as they are."""
    if column.dtype.kind not in "biu":
        return column
    small = column.astype(np.float32)
    return small if (small == column).all() else column.astype(np.float64)  # the audit says what merges


def file_kind(path: Path) -> str | None:
    """`npz` or `hdf5`, by the first bytes of the file; None for any other, and for what is no file."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        start = file.read(8)
    if start.startswith(b"PK"):
        return "npz"
    return "hdf5" if start == b"\x89HDF\r\n\x1a\n" else None


def array_names(path: Path) -> list[str]:
    """The names of everything that an npz or HDF5 file has at its root."""
    match file_kind(path):
        case "npz":
            return list(list_npz(path))
        case "hdf5":
            return hdf5_names(path)
    return []


def read_array_file(
    path: Path, keys: Sequence[str] = ARRAY_KEYS
) -> tuple[dict[str, np.ndarray], list[Finding]]:
    """Read these keys of an npz or HDF5 file (told apart by content) and what is wrong with the file.

    Vectors are floats [N, d], also where the file has one number a row, whole numbers or booleans; rewards
    and flags [N, 1] are [N]. Raises UserError where there is no such file.
    """
    if not path.is_file():
        raise UserError(f"{path} is not a file. Give --data the path of an npz or HDF5 file.")
    match file_kind(path):
        case "npz":
            arrays, faults = read_npz(path, keys)
        case "hdf5":
            arrays, faults = read_hdf5(path, keys)
        case _:
            arrays, faults = {}, [ArrayFault(None, "is neither an npz nor an HDF5 file.")]
    return in_our_shapes(arrays, str(path), faults)


def in_our_shapes(
    arrays: dict[str, np.ndarray], file: str, faults: Sequence[ArrayFault]
) -> tuple[dict[str, np.ndarray], list[Finding]]:
    """The arrays of a file by our keys, with the dimensions that these have, and its faults as findings."""
    for key in _NUMBERS & arrays.keys():
        arrays[key] = arrays[key][:, 0] if arrays[key].shape[1:] == (1,) else arrays[key]
    for key in _VECTORS & arrays.keys():
        column = in_floats(arrays[key])
        arrays[key] = column[:, None] if column.ndim == 1 else column
    return arrays, [Finding("error", file, key, None, text) for key, text in faults]


def write_npz(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write arrays to a compressed npz, atomically. Equal arrays give equal bytes."""
    with atomic_file(path) as file:
        save_npz(file, arrays, packed=True)


def write_hdf5(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write arrays to an HDF5 file, atomically. Equal arrays give equal bytes."""
    with atomic_file(path) as file, require("h5py").File(file, "w") as group:
        for key, value in arrays.items():
            group.create_dataset(key, data=value, compression="gzip", fletcher32=True, track_times=False)
