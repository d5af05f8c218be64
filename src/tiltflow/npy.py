"""Reading npy files and members of strangers: never unpickled, nothing allocated that they cannot fill."""

import math
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from tiltflow.errors import UserError

PLAIN = "Save plain numbers (float32), not Python objects."
AGAIN = "Copy or make the file again."
_BLOCK = 2**24


class Unusable(Exception):
    """The text of a fault."""


def load_npy(path: Path) -> np.ndarray:
    """The array of an npy file. Raises UserError naming the file and what is wrong."""
    try:
        with path.open("rb") as file:
            return read_array(file, path.stat().st_size)
    except Unusable as fault:
        raise UserError(f"{path} {fault}") from fault
    except Exception as error:
        raise UserError(
            f"{path} cannot be read ({error}). It must hold plain numbers, as numpy.save writes them."
        ) from error


def read_like(file: IO[bytes], like: Any) -> np.ndarray:
    """The next array of an open file, which must have the shape and type of `like`.

    Raises ValueError for any other.
    """
    shape, fortran, kind = read_header(file)
    if shape != like.shape or kind != like.dtype:
        raise ValueError(f"an array of {kind} {shape} where {like.dtype} {like.shape} belongs")
    return read_values(file, shape, fortran, kind)


def read_array(file: IO[bytes], size: int) -> np.ndarray:
    """The one array of an open file of `size` bytes."""
    shape, fortran, kind = read_header(file)
    if kind.hasobject:
        raise Unusable(f"cannot be read: it holds Python objects. {PLAIN}")
    declared, there = math.prod(shape) * kind.itemsize, size - file.tell()
    if declared != there:
        raise Unusable(f"is cut off or damaged: it declares {declared:,} bytes and holds {there:,}. {AGAIN}")
    array = read_values(file, shape, fortran, kind)
    file.read(1)  # at its end a member of an archive compares its checksum
    return array


def read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = npy.read_magic(file)
    if version == (1, 0):
        shape, fortran, kind = npy.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, fortran, kind = npy.read_array_header_2_0(file)
    else:
        raise Unusable(f"has version {version} of the format: no plain array. {PLAIN}")
    if any(length < 0 for length in shape):
        raise Unusable(f"declares the shape {shape}.")
    return shape, fortran, kind


def read_values(file: IO[bytes], shape: tuple[int, ...], fortran: bool, kind: np.dtype) -> np.ndarray:
    array = np.empty(math.prod(shape), kind)
    if array.nbytes:
        view, done = memoryview(array.view(np.uint8)), 0  # type: ignore[arg-type]
        while done < array.nbytes:
            count = file.readinto(view[done : done + _BLOCK])  # type: ignore[attr-defined]
            if not count:
                raise EOFError(f"{done:,} of {array.nbytes:,} bytes")
            done += count
    return array.reshape(shape, order="F" if fortran else "C")
