"""Points and columns from the user's own files: npy, npz, csv and tsv, never unpickled."""

import csv
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from tiltflow.errors import UserError, nearest
from tiltflow.npy import load_npy
from tiltflow.npz import load_npz

KINDS = (".npy", ".npz", ".csv", ".tsv")


@dataclass(frozen=True)
class Table:
    """Named blocks of columns with one row each per point, float64."""

    path: Path
    blocks: dict[str, Float[np.ndarray, "n c"]]

    def take(self, name: str) -> tuple[Float[np.ndarray, "n c"], "Table"]:
        """The block of that name (or, in a table, the column of that number) and the table without it.

        Raises UserError naming the blocks that there are.
        """
        if name not in self.blocks:
            raise UserError(
                f"{self.path} has no column {name!r}.{nearest(name, self.blocks)} It has: "
                f"{', '.join(self.blocks)}."
            )
        rest = {key: block for key, block in self.blocks.items() if key != name}
        return self.blocks[name], Table(self.path, rest)

    def join(self) -> Float[np.ndarray, "n d"]:
        """All blocks side by side. Raises UserError where there is none, or they differ in rows."""
        lengths = {name: len(block) for name, block in self.blocks.items()}
        if not lengths:
            raise UserError(f"{self.path} holds no points: no column is left.")
        if len(set(lengths.values())) > 1:
            rows = ", ".join(f"{name} {count}" for name, count in lengths.items())
            raise UserError(f"The arrays of {self.path} differ in rows: {rows}.")
        return np.concatenate(list(self.blocks.values()), axis=1)


def read_table(path: Path) -> Table:
    """Read a file of numbers: npy (one block), npz (a block an array), csv or tsv (a block a column).

    A csv's first line may name its columns; else, and in an npy, they are called 0, 1, 2, …; columns of a
    matrix are not split. Raises UserError naming the file, and the line or key, for anything unusable.
    """
    if not path.is_file():
        raise UserError(f"{path} is not a file. Give an array as {', '.join(KINDS)}.")
    match path.suffix.lower():
        case ".npy":
            points = _block(path, "", load_npy(path))
            return Table(path, {str(i): column[:, None] for i, column in enumerate(points.T)})
        case ".npz":
            arrays = load_npz(path)
            return Table(path, {key: _block(path, f", array {key}", array) for key, array in arrays.items()})
        case ".csv" | ".tsv":
            return _read_text(path, "," if path.suffix.lower() == ".csv" else "\t")
    raise UserError(f"{path} is none of {', '.join(KINDS)}. Save the array with numpy.save.")


def _block(path: Path, where: str, array: np.ndarray) -> Float[np.ndarray, "n c"]:
    if array.dtype.kind not in "fiub":
        raise UserError(f"{path}{where} has the dtype {array.dtype}, not a number.")
    if array.ndim not in (1, 2) or len(array) == 0:
        raise UserError(f"{path}{where} has shape {array.shape}; it must be [rows] or [rows, columns].")
    return array.reshape(len(array), -1).astype(np.float64)


def _read_text(path: Path, delimiter: str) -> Table:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            first = next(csv.reader(file, delimiter=delimiter), [])
    except (ValueError, csv.Error) as error:
        raise UserError(f"{path} cannot be read as text in UTF-8: {error}") from error
    if not first:
        raise UserError(f"{path}, line 1, is empty: neither names nor numbers.")
    named = not all(_is_number(cell) for cell in first)
    names = [cell.strip() for cell in first] if named else [str(i) for i in range(len(first))]
    if len(set(names)) < len(names):
        raise UserError(f"{path}, line 1: two columns have the same name.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a file without rows, which is an error below
            values = np.loadtxt(
                path, delimiter=delimiter, skiprows=int(named), ndmin=2, comments=None, quotechar='"',
                encoding="utf-8-sig",
            )  # fmt: skip
    except Exception as error:  # whatever the library throws, the file is what it cannot read
        raise UserError(f"{path} cannot be read: {error}") from error
    if values.size == 0:
        raise UserError(f"{path} names columns but has no rows.")
    if values.shape[1] != len(names):
        raise UserError(f"{path} names {len(names)} columns, but its rows have {values.shape[1]}.")
    return Table(path, {name: column[:, None] for name, column in zip(names, values.T, strict=True)})


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
