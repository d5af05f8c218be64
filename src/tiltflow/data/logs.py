"""A user's logs, whatever their format: which columns there are, and the arrays of those that are asked for.

A format is a file that makes a `Log` of a path, and a line in `_FORMATS`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

import numpy as np

from tiltflow.data.columns import LogColumn
from tiltflow.errors import UserError
from tiltflow.npz import ArrayFault

_Parts = dict[str, list[np.ndarray]]
PIECE_BYTES = 2**25
"""Of the pieces in which a large file is read where its rows go to the disk."""


@dataclass(frozen=True)
class Log:
    """One file or folder of recordings, listed but not read."""

    columns: dict[str, LogColumn]
    read: Callable[[Sequence[str]], tuple[_Parts, list[ArrayFault]]]
    """The arrays of these columns, one of each episode or one of all, and what is wrong with them."""
    episodes: bool = False
    """Whether there is one array of each episode."""
    entries: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """The names of the entries of a column, where the format has them."""
    bounds: tuple[np.ndarray, np.ndarray] | None = None
    """The lowest and the highest action, where the file says."""
    read_rows: Callable[[Sequence[str], int, int], tuple[_Parts, list[ArrayFault]]] | None = None
    """The same of the rows from the first to before the last alone, where the format has a way to them."""
    whole: bool = True
    """Whether it is all of its file."""
    lack: str = ""
    """What to warn of, where it says that it should hold more than it does."""
    pieces: "Callable[[], Sequence[tuple[str, Log]]] | None" = None
    """The files that it is made of, by name, where each holds whole episodes and can be read alone."""


# What the path looks like to a format: a folder with this file, the first bytes, or the ending of the name.
_FORMATS: tuple[tuple[str, str, bytes, tuple[str, ...]], ...] = (
    ("lerobot_log", "meta/info.json", b"", ()),
    ("npz_log", "", b"PK\x03\x04", ()),
    ("npz_log", "", b"PK\x05\x06", ()),
    ("hdf5_log", "", b"\x89HDF\r\n\x1a\n", ()),
    ("parquet_log", "", b"PAR1", ()),
    ("csv_log", "", b"", (".csv", ".tsv")),
)


def open_log(place: Path) -> Log:
    """List the columns of a file, told apart by its first bytes or its name, or of a folder of one data set.

    Raises UserError where it is none of the formats, is damaged, or needs a package that is missing.
    """
    start = b""
    if place.is_file():
        with place.open("rb") as file:
            start = file.read(8)
    for module, marker, magic, suffixes in _FORMATS:
        if (
            (marker and (place / marker).is_file())
            or (magic and start.startswith(magic))
            or (start and place.suffix.lower() in suffixes)
        ):
            return import_module(f"tiltflow.data.{module}").list_log(place)
    raise UserError(
        f"{place} is neither an npz nor an HDF5 file, nor Parquet, CSV or a LeRobot folder. Convert it to "
        "one of these."
    )


def file_bounds(numbers: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray] | None:
    """The bounds of actions among the numbers that a file has by name."""
    if {"action_low", "action_high"} <= numbers.keys():
        return np.ravel(numbers["action_low"]), np.ravel(numbers["action_high"])
    return None
