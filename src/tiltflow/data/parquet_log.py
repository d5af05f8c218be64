"""Parquet files as a log, read with pyarrow; columns of lists of numbers are vectors."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tiltflow import words
from tiltflow.data.columns import LogColumn
from tiltflow.data.ends import Unfit
from tiltflow.data.logs import Log
from tiltflow.errors import UserError
from tiltflow.npz import ArrayFault
from tiltflow.packages import require
from tiltflow.sizes import excess

_BATCH = 2**14
"""Rows that are unpacked at once."""


def list_log(path: Path) -> Log:
    """List the columns of the file."""
    return list_parquet([path])


def list_parquet(paths: Sequence[Path]) -> Log:
    """List the columns of files that are read one after the other, as one table.

    Raises UserError naming a file that is damaged, or whose columns are not those of the first.
    """
    metadata = [_metadata(path) for path in paths]
    schema = metadata[0].schema.to_arrow_schema()
    rows = sum(one.num_rows for one in metadata)
    if twice := [name for name, count in Counter(schema.names).items() if count > 1]:
        raise UserError(f"{paths[0]} has two columns with the name {twice[0]!r}. Give each its own.")
    columns = {field.name: _column(field.type, rows) for field in schema}
    declared, stored = dict.fromkeys(columns, 0), sum(path.stat().st_size for path in paths)
    for path, one in zip(paths, metadata, strict=True):
        names = one.schema.to_arrow_schema().names
        if missing := [name for name in columns if name not in names]:
            raise UserError(f"{path} has no column {missing[0]!r}, which {paths[0]} has.")
        with _reading(path):
            for name, count in _values_declared(one).items():
                declared[name] = declared.get(name, 0) + count

    def read(names: Sequence[str]) -> tuple[dict[str, list[np.ndarray]], list[ArrayFault]]:
        if fault := excess(8 * sum(declared[name] for name in names), stored):
            return {}, [ArrayFault(None, fault)]
        parquet = require("pyarrow.parquet")
        parts: dict[str, list[np.ndarray]] = {name: [] for name in names}
        for path in paths:
            try:
                table = parquet.ParquetFile(path).read(columns=list(names))
                for name in names:
                    parts[name].append(_array(name, table.column(name)))
            except Unfit as unfit:
                where = f" The file is {path.name}." if len(paths) > 1 else ""
                return {}, [ArrayFault(unfit.key, f"{unfit}{where}")]
            except Exception as error:  # whatever the library throws, the file is what it cannot read
                return {}, [ArrayFault(None, f"{path.name} is cut off or damaged ({error}). Copy it again.")]
        try:
            return {name: [_whole(name, pieces)] for name, pieces in parts.items()}, []
        except Unfit as unfit:
            return {}, [ArrayFault(unfit.key, str(unfit))]

    def read_rows(
        names: Sequence[str], first: int, stop: int
    ) -> tuple[dict[str, list[np.ndarray]], list[ArrayFault]]:
        (path,) = paths
        try:
            with _reading(path):
                return {name: [array] for name, array in _rows(path, names, first, stop).items()}, []
        except Unfit as unfit:
            return {}, [ArrayFault(unfit.key, str(unfit))]
        except UserError as error:
            return {}, [ArrayFault(None, str(error).removeprefix(str(path)).lstrip())]

    return Log(columns, read, read_rows=read_rows if len(paths) == 1 else None)


def _rows(path: Path, names: Sequence[str], first: int, stop: int) -> dict[str, np.ndarray]:
    """Some rows of columns: of the groups of rows that hold them, batch by batch."""
    parquet: Any = require("pyarrow.parquet")
    parts: dict[str, list[np.ndarray]] = {name: [] for name in names}
    with parquet.ParquetFile(path, buffer_size=2**20, pre_buffer=False) as file:
        begin = 0
        for group in range(file.num_row_groups):
            end = begin + file.metadata.row_group(group).num_rows
            if begin < stop and first < end:
                place = begin
                for batch in file.iter_batches(_BATCH, row_groups=[group], columns=list(names)):
                    after = place + batch.num_rows
                    low, high = max(first, place), min(stop, after)
                    for name in names if low < high else ():
                        part = batch.slice(low - place, high - low).column(name)
                        parts[name].append(_array(name, require("pyarrow").chunked_array([part])))
                    place = after
                    if place >= stop:
                        break
            begin = end
    return {name: _whole(name, pieces) for name, pieces in parts.items()}


def _whole(name: str, pieces: Sequence[np.ndarray]) -> np.ndarray:
    pieces = [piece for piece in pieces if len(piece)] or pieces[:1]  # lists of no row have no length
    if len({piece.shape[1:] for piece in pieces}) > 1:
        raise Unfit(name, "holds vectors of different lengths.")
    return np.concatenate(pieces)


def _metadata(path: Path) -> Any:
    """The file's own, once a row of every group was read: where statistics of a column are damaged, that is
    an error, and to ask for them would end the process."""
    parquet = require("pyarrow.parquet")
    with _reading(path), parquet.ParquetFile(path) as file:
        file.metadata.schema.to_arrow_schema()
        for group in range(file.num_row_groups):
            next(file.iter_batches(1, row_groups=[group]), None)
        return file.metadata


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Whatever the library throws, the file is what it cannot read: UserError naming it."""
    try:
        yield
    except Unfit:
        raise
    except Exception as error:
        raise UserError(f"{path} is cut off or damaged ({error}). Copy or make it again.") from error


def _values_declared(metadata: Any) -> dict[str, int]:
    """How many numbers each column unpacks to: a run of equal ones takes no room in the file."""
    counts: dict[str, int] = {}
    names = metadata.schema.to_arrow_schema().names
    for group in range(metadata.num_row_groups):
        for index in range(metadata.num_columns):
            chunk = metadata.row_group(group).column(index)
            # The path of a list is its column's with ".list.element" after it; names may have dots.
            name = max((n for n in names if f"{chunk.path_in_schema}.".startswith(f"{n}.")), key=len)
            counts[name] = counts.get(name, 0) + max(chunk.num_values, metadata.row_group(group).num_rows)
    return counts


def _column(kind: Any, rows: int) -> LogColumn:
    types = require("pyarrow").types
    shape: tuple[int, ...] = ()
    if types.is_fixed_size_list(kind):
        shape, kind = (kind.list_size,), kind.value_type
    elif types.is_list(kind) or types.is_large_list(kind):
        shape, kind = (-1,), kind.value_type
    numbers = (types.is_boolean, types.is_integer, types.is_floating, types.is_decimal)
    if any(fits(kind) for fits in numbers):
        name = {"float": "float32", "double": "float64", "halffloat": "float16"}.get(str(kind), str(kind))
        return LogColumn(rows, shape, name)
    return LogColumn(rows, shape, str(kind)[:40], f"has the type {str(kind)[:40]}, not numbers.")


def _array(name: str, column: Any) -> np.ndarray:
    """The values [rows] or [rows, k] of a column. Raises Unfit for lists that differ in length."""
    types = require("pyarrow").types
    array, rows = column.combine_chunks(), len(column)
    lists = (types.is_fixed_size_list, types.is_list, types.is_large_list)
    if not any(fits(array.type) for fits in lists):
        return _numbers(array)
    if array.null_count:
        raise Unfit(name, f"lacks {words.plural(array.null_count, 'list')} of numbers.")
    values = _numbers(array.flatten())
    if rows == 0:
        return values.reshape(0, 0)
    lengths = require("pyarrow.compute").list_value_length(array).to_numpy(zero_copy_only=False)
    if lengths.min() != lengths.max():
        raise Unfit(name, f"holds lists of {lengths.min()} to {lengths.max()} numbers; all need as many.")
    return values.reshape(rows, -1)


def _numbers(array: Any) -> np.ndarray:
    if require("pyarrow").types.is_decimal(array.type):
        array = array.cast(require("pyarrow").float64())
    return array.to_numpy(zero_copy_only=False)
