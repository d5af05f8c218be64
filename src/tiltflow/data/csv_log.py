"""CSV and TSV as a log: numbers under names, read with pyarrow where it is installed, else with NumPy.

Cells are separated by commas, semicolons or tabs; between the last two, numbers may have a decimal comma.
"""

import csv
import re
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import numpy as np

from tiltflow import words
from tiltflow.data.columns import LogColumn
from tiltflow.data.logs import Log
from tiltflow.errors import UserError
from tiltflow.npz import ArrayFault

_LOOKED_AT = 100
"""Rows that say what columns hold, and whether numbers have a decimal comma."""
_DECIMAL_COMMA = re.compile(r"[-+]?\d*,\d+([eE][-+]?\d+)?")
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
_WORDS = {"true": 1.0, "false": 0.0, "": float("nan")}


def list_log(path: Path) -> Log:
    """List the columns of the file, which its first line names.

    Raises UserError where it names none, two by the same name, or other numbers of cells than a row has.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            start = file.readline()
            delimiter = max(",;\t", key=start.count)
            names = [cell.strip() for cell in next(csv.reader([start], delimiter=delimiter), [])]
            rows = list(islice(csv.reader(file, delimiter=delimiter), _LOOKED_AT))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path} cannot be read as text: {error}") from error
    if not names or all(_is_number(name, ".") for name in names):
        raise UserError(f"{path}, line 1, must name the columns, as in x,y,action_0,action_1.")
    if len(set(names)) < len(names):
        raise UserError(f"{path}, line 1: two columns have the same name.")
    if rows and rows[0] and len(rows[0]) != len(names):
        raise UserError(
            f"{path}, line 2, has {words.plural(len(rows[0]), 'cell')} between {_SEPARATORS[delimiter]}, but "
            f"line 1 names {words.plural(len(names), 'column')}. Separate the cells of all lines alike; "
            "numbers with a decimal comma need semicolons or tabs between them."
        )
    commas = delimiter != "," and any(_DECIMAL_COMMA.fullmatch(cell.strip()) for row in rows for cell in row)
    decimal = "," if commas else "."

    cells = zip(*(row for row in rows if len(row) == len(names)), strict=True)
    columns = dict(zip(names, (_column(list(one), decimal) for one in cells), strict=False))
    columns |= {name: LogColumn(None, (), "number") for name in names if name not in columns}

    def read(wanted: Sequence[str]) -> tuple[dict[str, list[np.ndarray]], list[ArrayFault]]:
        try:
            values = (_read_arrow if find_spec("pyarrow") else _read_numpy)(
                path, delimiter, decimal, names, wanted
            )
        except Exception as error:  # whatever the library throws, the file is what it cannot read
            return {}, [ArrayFault(None, f"cannot be read as numbers: {error}")]
        return {name: [column] for name, column in values.items()}, []

    return Log(columns, read)


def _column(cells: Sequence[str], decimal: str) -> LogColumn:
    """What the first cells of a column say of it."""
    wrong = [cell.strip() for cell in cells if cell.strip() and not _is_number(cell, decimal)]
    if not wrong:
        return LogColumn(None, (), "number" if decimal == "." else "number with a decimal comma")
    text = f"holds {wrong[0][:20]!r}, not numbers alone."
    if _DECIMAL_COMMA.fullmatch(wrong[0]):
        text += " Decimal commas are read between semicolons or tabs only; or save numbers with a point."
    return LogColumn(None, (), "text", text)


def _read_arrow(
    path: Path, delimiter: str, decimal: str, names: list[str], wanted: Sequence[str]
) -> dict[str, np.ndarray]:
    import pyarrow
    from pyarrow import csv as arrow

    table = arrow.read_csv(
        path,
        read_options=arrow.ReadOptions(column_names=names, skip_rows=1),
        parse_options=arrow.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=arrow.ConvertOptions(include_columns=list(wanted), decimal_point=decimal),
    )
    values = {}
    for name in wanted:
        column = table.column(name)
        if not (pyarrow.types.is_primitive(column.type) or pyarrow.types.is_null(column.type)):
            raise ValueError(f"the column {name!r} holds text")
        # Not safe: time stamps in nanoseconds are whole numbers beyond 2**53.
        values[name] = column.cast(pyarrow.float64(), safe=False).to_numpy()
    return values


def _read_numpy(
    path: Path, delimiter: str, decimal: str, names: list[str], wanted: Sequence[str]
) -> dict[str, np.ndarray]:
    places = [names.index(name) for name in wanted]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a file without rows, which the audit names
        values = np.loadtxt(
            path, delimiter=delimiter, skiprows=1, usecols=places, ndmin=2, comments=None, quotechar='"',
            encoding="utf-8-sig", converters=lambda cell: _number(cell, decimal),
        )  # fmt: skip
    return dict(zip(wanted, values.T.reshape(len(wanted), -1), strict=True))


def _number(cell: str, decimal: str) -> float:
    word = cell.strip().lower()
    if decimal != ".":
        word = word.replace(".", "no number").replace(decimal, ".")
    return _WORDS[word] if word in _WORDS else float(word)


def _is_number(cell: str, decimal: str) -> bool:
    try:
        _number(cell, decimal)
    except ValueError:
        return False
    return bool(cell.strip())
