"""Files in one of our layouts; flags of other names are taken where the layout lacks them, else compared."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from tiltflow import words
from tiltflow.data.arrays import ARRAY_KEYS, array_names, read_array_file
from tiltflow.data.audit import FLAGS, Finding
from tiltflow.data.columns import BOUNDS, flag_roles
from tiltflow.data.ends import Unfit, flag_column
from tiltflow.data.formats import FileColumns, layout_of

_Read = tuple[dict[str, np.ndarray], list[Finding]]
_TRUE_ENDS = ("terminals", "terminations")
_KNOWN = ("infos", "metadata")
"""What begins so is in D4RL's files, and is no news."""


def read_known(place: Path, states: bool | None) -> tuple[FileColumns, list[Finding]]:
    """The columns of a layout, with time limits of another name, and what is wrong or not read.

    `states` as in `layout_of`.
    """
    columns, findings = read_array_file(place)
    names, read = array_names(place), partial(read_array_file, place)
    return columns, findings + take_others(str(place), columns, names, read, states)


def take_others(
    file: str, columns: FileColumns, names: Sequence[str], read: Callable[[Sequence[str]], _Read],
    states: bool | None,
) -> list[Finding]:  # fmt: skip
    """Add time limits of another name to the columns; what is wrong with other flags, and what is not read.

    `names` are those of all arrays of the file, of which `read` reads some.
    """
    findings = []
    left = [name for name in names if name not in (*ARRAY_KEYS, *BOUNDS)]
    flags = [name for name in left if name in flag_roles()]
    if flags and layout_of(columns, states) != "states":
        others, faults = read(flags)
        findings += faults + _take_flags(file, columns, others)
        left = [name for name in left if name not in flags]
    if left := [name for name in left if not name.startswith(_KNOWN)]:
        text = f"not read: {', '.join(left[:20])}{' …' if len(left) > 20 else ''}"
        findings.append(Finding("note", file, None, None, text))
    return findings


def _take_flags(file: str, columns: FileColumns, others: Mapping[str, np.ndarray]) -> list[Finding]:
    """Add time limits of another name to the columns; errors of flags that say more than the columns do."""
    findings = []
    for name, values in others.items():
        role, rows = flag_roles()[name], len(columns.get("actions", ()))
        try:
            marks = _marks(name, values, rows)
        except Unfit as fault:
            findings.append(Finding("error", file, name, None, str(fault)))
            continue
        marks = ~marks if role == "masks" else marks
        if role == "truncations" and not {"timeouts", "ends"} & columns.keys():
            columns["timeouts"] = marks
            findings.append(Finding("note", file, name, None, "read as timeouts."))
            continue
        true_end = role in ("terminations", "masks")
        told = [key for key in (_TRUE_ENDS if true_end else FLAGS) if _is_flag(columns.get(key), rows)]
        lost = marks & ~np.logical_or.reduce([columns[key].astype(bool) for key in told] or [marks])
        lost[-1:] &= true_end  # the last row of a file is an end in any case
        if lost.any():
            text = (
                f"says that it is {'a true end' if true_end else 'an end'}, and {', '.join(told)} that it is "
                f"not ({words.plural(int(lost.sum()), 'such row')}). Put one right, or leave {name} out."
            )
            findings.append(Finding("error", file, name, int(np.argmax(lost)), text))
    return findings


def _marks(name: str, values: np.ndarray, rows: int) -> np.ndarray:
    if values.dtype.kind not in "biuf":
        raise Unfit(name, f"has the dtype {values.dtype}, which is not a number.")
    marks = flag_column(name, [values], rows)
    if len(marks) != rows:
        raise Unfit(name, f"has {len(marks)} rows, but 'actions' has {rows}.")
    return marks


def _is_flag(column: np.ndarray | None, rows: int) -> bool:
    return column is not None and column.shape == (rows,) and column.dtype.kind in "biuf"
