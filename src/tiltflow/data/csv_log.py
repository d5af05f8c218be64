"""CSV and TSV as a log: numbers under names, read with pyarrow where it is installed, else with NumPy."""

import csv
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from tiltflow.data.columns import LogColumn
from tiltflow.data.logs import Log
from tiltflow.errors import UserError
from tiltflow.npz import ArrayFault

_WORDS = {"true": 1.0, "false": 0.0, "": float("nan")}


def list_log(path: Path) -> Log:
    """List the columns of the file, which its first line names.

    Raises UserError where it names none, or two by the same name.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            start = file.readline()
            delimiter = max(",;\t", key=start.count)
            names = [cell.strip() for cell in next(csv.reader([start], delimiter=delimiter), [])]
            first = next(csv.reader(file, delimiter=delimiter), [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read as text: {error}") from error
    if not names or all(_is_number(name) for name in names):
        raise UserError(f"{path}, line 1, must name the columns, as in x,y,action_0,action_1.")
    if len(set(names)) < len(names):
        raise UserError(f"{path}, line 1: two columns have the same name.")
    columns = {
        name: LogColumn(None, (), "number" if fits else "text", "" if fits else "holds text, not numbers.")
        for name, cell in zip(names, [*first, *[""] * len(names)], strict=False)
        for fits in (not cell.strip() or _is_number(cell),)
    }

    def read(wanted: Sequence[str]) -> tuple[dict[str, list[np.ndarray]], list[ArrayFault]]:
        try:
            values = (_read_arrow if find_spec("pyarrow") else _read_numpy)(path, delimiter, names, wanted)
        except Exception as error:  # whatever the library throws, the file is what it cannot read
            return {}, [ArrayFault(None, f"cannot be read as numbers: {error}")]
        return {name: [column] for name, column in values.items()}, []

    return Log(columns, read)


def _read_arrow(path: Path, delimiter: str, names: list[str], wanted: Sequence[str]) -> dict[str, np.ndarray]:
    import pyarrow
    from pyarrow import csv as arrow

    table = arrow.read_csv(
        path,
        read_options=arrow.ReadOptions(column_names=names, skip_rows=1),
        parse_options=arrow.ParseOptions(delimiter=delimiter),
        convert_options=arrow.ConvertOptions(include_columns=list(wanted)),
    )
    values = {}
    for name in wanted:
        column = table.column(name)
        if not (pyarrow.types.is_primitive(column.type) or pyarrow.types.is_null(column.type)):
            raise ValueError(f"the column {name!r} holds text")
        values[name] = column.cast(pyarrow.float64()).to_numpy()
    return values


def _read_numpy(path: Path, delimiter: str, names: list[str], wanted: Sequence[str]) -> dict[str, np.ndarray]:
    places = [names.index(name) for name in wanted]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a file without rows, which the audit names
        values = np.loadtxt(
            path, delimiter=delimiter, skiprows=1, usecols=places, ndmin=2, comments=None, quotechar='"',
            encoding="utf-8-sig", converters=_number,
        )  # fmt: skip
    return dict(zip(wanted, values.T.reshape(len(wanted), -1), strict=True))


def _number(cell: str) -> float:
    word = cell.strip().lower()
    return _WORDS[word] if word in _WORDS else float(word)


def _is_number(cell: str) -> bool:
    try:
        _number(cell)
    except ValueError:
        return False
    return bool(cell.strip())
