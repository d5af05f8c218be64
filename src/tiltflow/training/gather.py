"""Gathering batches of rows that lie on the host, by threads, ahead of the device that is to see them.

Row numbers are drawn on the CPU, by the same keys and to the same bits as on any other device, which so goes
on computing. What is gathered next is guessed: the steps that follow, of the same keys.
"""

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from mmap import MADV_RANDOM, mmap
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PRNGKeyArray

from tiltflow.data.transitions import ChosenRows, Transitions
from tiltflow.files import unwritable
from tiltflow.optimize import draw_batches

AHEAD_BYTES = 16 * 2**20
"""What is gathered for one compiled call; about three times as much is in memory."""
_READERS = 8
"""Threads that gather: rows that are not in memory yet are waited for."""
_ALONE = 4096
"""Rows up to which one thread gathers."""

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Request:
    """Batches of so many steps from `first` on, of each key, drawn of so many rows."""

    keys: np.ndarray
    """Their data [*keys, words]."""
    totals: np.ndarray
    first: int
    steps: int
    batch_size: int
    used: frozenset[str] | None

    @classmethod
    def of(
        cls,
        keys: PRNGKeyArray,
        totals: np.ndarray,
        first: int,
        steps: int,
        size: int,
        used: Collection[str] | None,
    ) -> "Request":
        """From keys as JAX has them."""
        numbers = np.asarray(jax.random.key_data(keys))
        return cls(numbers, totals, first, steps, size, None if used is None else frozenset(used))

    def same(self, other: "Request") -> bool:
        """Whether it asks for the same."""
        arrays = np.array_equal(self.keys, other.keys) and np.array_equal(self.totals, other.totals)
        return arrays and self._rest == other._rest

    @property
    def _rest(self) -> tuple[Any, ...]:
        return self.first, self.steps, self.batch_size, self.used

    @property
    def next(self) -> "Request":
        """The steps that follow."""
        return replace(self, first=self.first + self.steps)

    def numbers(self) -> Int[np.ndarray, "*keys steps b"]:
        """The rows that are drawn."""
        with _on_the_cpu():
            keys = jax.random.wrap_key_data(jnp.asarray(self.keys.reshape(-1, self.keys.shape[-1])))
            drawn = draw_numbers(keys, self.totals.reshape(-1), self.first, self.steps, self.batch_size)
            return np.asarray(drawn).reshape(*self.totals.shape, self.steps, self.batch_size)


@partial(jax.jit, static_argnums=(3, 4))
def draw_numbers(
    keys: PRNGKeyArray, totals: Int[Array, " seeds"], first: int, steps: int, batch_size: int
) -> Int[Array, "seeds steps b"]:
    """The row numbers that the batches of so many steps from `first` on have, of `totals` rows."""
    return jax.vmap(lambda key, rows: draw_batches(key, first, steps, batch_size, rows)[0])(keys, totals)


def _on_the_cpu() -> Any:
    try:
        return jax.default_device(jax.local_devices(backend="cpu")[0])
    except RuntimeError:  # JAX was told of no CPU
        return nullcontext()


@dataclass(frozen=True)
class _Held:
    """Columns of some rows, in order, [rows, …] or [seeds, rows, …]."""

    rows: Int[np.ndarray, " m"]
    columns: Mapping[str, np.ndarray]
    axis: int

    def gather(self, numbers: Int[np.ndarray, "*batch"]) -> dict[str, np.ndarray]:
        """Of the rows of these numbers, [*batch, …]; the first axis is that of the seeds, if they have one.

        Numbers of rows that are not held give any row.
        """
        places = np.minimum(np.searchsorted(self.rows, numbers), len(self.rows) - 1)
        if not self.axis:
            return {name: column[places] for name, column in self.columns.items()}
        pairs = {name: zip(column, places, strict=True) for name, column in self.columns.items()}
        return {name: np.stack([column[at] for column, at in pair]) for name, pair in pairs.items()}


class Gatherer:
    """Gathers the columns of rows, and what is held of them besides; see above."""

    def __init__(self, data: Transitions, scratch: Path | None):
        self._data, self._scratch = data, scratch
        self._held: _Held | None = None
        self._columns = {name: column for name, column in data.columns().items() if name != "ends"}
        self._row_bytes = sum(column.nbytes for column in self._columns.values()) // len(data)
        self._readers = ThreadPoolExecutor(_READERS, "gather")
        self._thread = ThreadPoolExecutor(1, "ahead")
        self._waiting: tuple[Request, Future] | None = None
        for column in self._columns.values():
            of_file = getattr(column, "column", column).base
            if isinstance(of_file, mmap) and hasattr(mmap, "madvise"):
                of_file.madvise(MADV_RANDOM)  # the pages around a row that is read are of no use

    def steps_at_once(self, steps: int, rows_of_step: int) -> int:
        """As many of so many steps as fit into `AHEAD_BYTES`; fewer, where then all parts are equal."""
        held = 0
        if self._held is not None:
            columns, first = self._held.columns.values(), (slice(1),) * (self._held.axis + 1)
            held = sum(column[first].nbytes for column in columns)
        most = max(1, AHEAD_BYTES // (rows_of_step * (self._row_bytes + held)))
        parts = -(-steps // most)
        even = (count for count in range(parts, min(2 * parts, steps) + 1) if steps % count == 0)
        return -(-steps // next(even, parts))

    def hold(
        self, rows: Int[np.ndarray, " m"], blocks: Iterable[tuple[Any, Mapping[str, Any]]], axis: int
    ) -> None:
        """Keep columns of these rows in a file that nobody else sees, in the place of those before."""
        self._held, self._waiting = None, None
        columns: dict[str, np.ndarray] = {}
        for numbers, part in blocks:
            at = (slice(None),) * axis + (np.searchsorted(rows, numbers),)
            for name, values in part.items():
                if name not in columns:
                    shape = (*values.shape[:axis], len(rows), *values.shape[axis + 1 :])
                    columns[name] = self._file(shape, values.dtype)
                columns[name][at] = np.asarray(values)
        self._held = _Held(rows, columns, axis) if columns else None

    def _file(self, shape: tuple[int, ...], kind: Any) -> np.ndarray:
        if self._scratch is None:
            return np.empty(shape, kind)
        try:
            with TemporaryFile(dir=self._scratch) as file:  # it has no name, and goes with the last map of it
                # A map of a file that the disk has no room for would end the process where it is written.
                room = os.posix_fallocate if hasattr(os, "posix_fallocate") else _lengthen
                room(file.fileno(), 0, prod(shape) * np.dtype(kind).itemsize)
                return np.memmap(file, kind, "r+", shape=shape)
        except OSError as error:
            raise unwritable(self._scratch, error) from error

    def gather(
        self, numbers: Int[np.ndarray, "*batch"], used: Collection[str] | None = None
    ) -> dict[str, np.ndarray]:
        """The columns of the rows of these numbers, [*batch, …]; all, or those that are used."""
        flat = numbers.reshape(-1)
        names = [name for name in self._columns if used is None or name in used]
        columns = {name: _room(self._columns[name], len(flat)) for name in names}
        followed = used is None or bool({"following_actions", "followed"} & set(used))
        if followed:
            columns["following_actions"] = _room(self._columns["actions"], len(flat))
            columns["followed"] = np.empty(len(flat), bool)

        def fill(part: slice) -> None:
            for name in names:
                _take(self._columns[name], flat[part], columns[name][part])
            if followed:
                actions, known = self._data.following_actions(flat[part])
                columns["following_actions"][part], columns["followed"][part] = actions, known

        if len(flat) <= _ALONE:
            fill(slice(None))
        else:
            size = max(_ALONE, -(-len(flat) // _READERS))
            list(self._readers.map(fill, [slice(i, i + size) for i in range(0, len(flat), size)]))
        return {name: column.reshape(*numbers.shape, *column.shape[1:]) for name, column in columns.items()}

    def ahead(self, request: Request, finish: Callable[[dict[str, np.ndarray]], T]) -> T:
        """What is asked for, and from now on, in a thread, what will be asked for next."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None and waiting[0].same(request):
            found = waiting[1].result()
        else:
            found = self._batches(request, self._held, finish)
        future = self._thread.submit(self._batches, request.next, self._held, finish)
        self._waiting = request.next, future
        return found

    def _batches(
        self, request: Request, held: _Held | None, finish: Callable[[dict[str, np.ndarray]], T]
    ) -> T:
        numbers = np.minimum(request.numbers(), len(self._data) - 1)
        return finish(self.gather(numbers, request.used) | (held.gather(numbers) if held else {}))


def _lengthen(file: int, _: int, size: int) -> None:
    """In the place of `posix_fallocate`, which macOS lacks."""
    os.ftruncate(file, size)


def _room(column: Any, rows: int) -> np.ndarray:
    return np.empty((rows, *column.shape[1:]), column.dtype)


def _take(column: np.ndarray | ChosenRows, rows: Int[np.ndarray, " n"], out: np.ndarray) -> None:
    whole, numbers = (
        (column.column, column.numbers[rows]) if isinstance(column, ChosenRows) else (column, rows)
    )
    np.take(whole, numbers, axis=0, out=out, mode="clip")  # without "clip" it would be copied twice
