"""Reading npy and npz files of strangers: never unpickled, nothing allocated that the file cannot fill.

Files written here say in the comment of their archive which arrays they hold and the SHA-256 of each:
a bit that turns in the name of an array would otherwise take it away without a word.
"""

import hashlib
import json
import math
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.lib import format as npy

from tiltflow.errors import UserError
from tiltflow.npy import AGAIN, Unusable, read_array, read_header, read_values
from tiltflow.sizes import excess

_COMMENT = "tiltflow sha256 "
_BLOCK = 2**24


class ArrayFault(NamedTuple):
    """What is wrong with an array, or with the whole file (None)."""

    key: str | None
    text: str


def save_npz(file: IO[bytes], arrays: Mapping[str, np.ndarray], *, packed: bool = False) -> None:
    """Write an npz file with the checksums of its arrays. Equal arrays give equal bytes."""
    how = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    plain = {key: np.asanyarray(array) for key, array in arrays.items()}
    with zipfile.ZipFile(file, "w", how, allowZip64=True) as archive:
        for key, array in plain.items():
            with archive.open(f"{key}.npy", "w", force_zip64=True) as member:
                npy.write_array(member, array, allow_pickle=False)
        sums = json.dumps({key: _checksum(array) for key, array in plain.items()})
        if len(sums) < 2**15:  # an archive's comment ends at 2**16
            archive.comment = f"{_COMMENT}{sums}".encode()


def _checksum(array: np.ndarray) -> str:
    digest = hashlib.sha256(f"{array.dtype.str} {array.shape}".encode())
    if array.nbytes:
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _checksums(comment: bytes) -> dict[str, str]:
    """Of each array, as `save_npz` wrote it; none in files of others. Raises ValueError where damaged."""
    if not comment.startswith(_COMMENT.encode()):
        return {}
    sums = json.loads(comment[len(_COMMENT) :])
    if not isinstance(sums, dict):
        raise ValueError("its checksums are none")
    return sums


def npz_checksums(path: Path) -> bool:
    """Whether the file says itself what its arrays are; a file that cannot be read is not asked."""
    try:
        with zipfile.ZipFile(path) as archive:
            return bool(_checksums(archive.comment))
    except Exception:
        return True


def read_npz(path: Path, keys: Sequence[str] | None = None) -> tuple[dict[str, np.ndarray], list[ArrayFault]]:
    """The arrays of these names that the file has (all by default), and what is wrong with it.

    An array is there or named in a fault, not both.
    """
    arrays, faults = dict[str, np.ndarray](), list[ArrayFault]()
    try:
        archive = zipfile.ZipFile(path)
        sums = _checksums(archive.comment)
    except Exception as error:  # whatever a decoder throws, the file is what it cannot read
        return {}, [ArrayFault(None, f"is cut off or damaged ({error}). {AGAIN}")]
    with archive:
        members = [(info.filename.removesuffix(".npy"), info) for info in archive.infolist()]
        wanted = [(key, info) for key, info in members if keys is None or key in keys]
        if fault := excess(sum(info.file_size for _, info in wanted), path.stat().st_size):
            return {}, [ArrayFault(None, fault)]
        counts = Counter(key for key, _ in members)
        faults += [
            ArrayFault(key, f"is in the file {count} times; only one can be meant.")
            for key, count in counts.items()
            if count > 1
        ]
        faults += [
            ArrayFault(key, f"was written and is not there. {AGAIN}") for key in sums if key not in counts
        ]
        for key, info in wanted:
            if counts[key] > 1:
                continue
            try:
                with archive.open(info) as member:
                    array = read_array(member, info.file_size)
                if sums and sums.get(key) != _checksum(array):
                    raise Unusable(f"is not the one that was written: its checksum differs. {AGAIN}")
                arrays[key] = array
            except Unusable as fault_found:
                faults.append(ArrayFault(key, str(fault_found)))
            except Exception as error:
                faults.append(ArrayFault(key, f"is cut off or damaged ({error}). {AGAIN}"))
    return arrays, faults


class StoredArray(NamedTuple):
    """Where in an npz file the rows of an array lie, one after the other."""

    shape: tuple[int, ...]
    kind: np.dtype
    offset: int


def stored_arrays(path: Path) -> dict[str, StoredArray]:
    """Where the arrays of numbers lie in a file; none where it is packed, or any is not as it should be.

    All of it is read once, block by block: what is damaged is not read in parts.
    """
    found = {}
    try:
        with zipfile.ZipFile(path) as archive, path.open("rb") as file:
            sums = _checksums(archive.comment)
            infos = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            if len(infos) < len(archive.infolist()) or not sums.keys() <= infos.keys():
                return {}
            for key, info in infos.items():
                with archive.open(info) as member:
                    shape, fortran, kind = read_header(member)
                    begin, size = member.tell(), math.prod(shape) * kind.itemsize
                    digest = hashlib.sha256(f"{kind.str} {shape}".encode())
                    while block := member.read(_BLOCK):  # at its end compares the checksum of the archive
                        digest.update(block)
                plain = info.compress_type == zipfile.ZIP_STORED and begin + size == info.file_size
                if not plain or kind.hasobject or (fortran and len(shape) > 1):
                    return {}
                if sums and sums.get(key) != digest.hexdigest():
                    return {}
                file.seek(info.header_offset + 26)  # the lengths of the name and of what follows it
                lengths = file.read(4)
                local = 30 + int.from_bytes(lengths[:2], "little") + int.from_bytes(lengths[2:], "little")
                found[key] = StoredArray(shape, kind, info.header_offset + local + begin)
    except Exception:  # whatever is wrong with it, `read_npz` says it
        return {}
    return found


def read_stored_rows(path: Path, array: StoredArray, first: int, stop: int) -> np.ndarray:
    """Some rows of a stored array. Raises EOFError where the file has become shorter."""
    shape = (max(min(stop, array.shape[0]) - first, 0), *array.shape[1:])
    with path.open("rb") as file:
        file.seek(array.offset + first * math.prod(array.shape[1:]) * array.kind.itemsize)
        return read_values(file, shape, False, array.kind)


def list_npz(path: Path) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    """The shape and type that the header of each array declares; nothing of what cannot be read."""
    listed = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                try:
                    with archive.open(info) as member:
                        shape, _, kind = read_header(member)
                except Exception:
                    continue
                listed[info.filename.removesuffix(".npy")] = shape, kind
    except Exception:
        return {}
    return listed


def load_npz(path: Path, *keys: str) -> dict[str, np.ndarray]:
    """All arrays of a file that must have these. Raises UserError naming the file and what is wrong."""
    if not path.is_file():
        raise UserError(f"{path} does not exist.")
    arrays, faults = read_npz(path)
    faults += [ArrayFault(key, "is missing.") for key in keys if key not in arrays]
    if faults:
        key, text = faults[0]
        raise UserError(f"{path} cannot be read: {f'the array {key!r}' if key else 'it'} {text}")
    return arrays
