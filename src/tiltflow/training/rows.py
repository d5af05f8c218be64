"""Where a run keeps its data: on the device, or on the host, which gathers the batches ahead of it."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PRNGKeyArray

from tiltflow.data.transitions import Transitions
from tiltflow.optimize import Buffer
from tiltflow.training.gather import Gatherer, Request
from tiltflow.training.policy import ObservationScaler

Blocks = Iterable[tuple[Int[np.ndarray, " b"], Mapping[str, Array]]]
"""Numbers of rows, and columns that are theirs, [b, …] or [seeds, b, …]."""


class DataRows(ABC):
    """The rows that batches are drawn of; both kinds give the same bits."""

    count: int
    resident: dict[str, Array]
    """Columns on the device, of which the compiled chunk gathers its batches itself."""

    @abstractmethod
    def take(self, numbers: Int[np.ndarray, "*batch"]) -> dict[str, Array]:
        """The columns of the rows of these numbers, each [*batch, …]."""

    @abstractmethod
    def hold(self, rows: Int[np.ndarray, " m"], blocks: Blocks, axis: int) -> dict[str, Array]:
        """Keep further columns of these rows, in order, in the place of those that were held before.

        `axis` is that of the rows. Returns those that are on the device, as columns of all rows.
        """

    @abstractmethod
    def batches(
        self,
        keys: PRNGKeyArray,
        first: int,
        steps: int,
        batch_size: int,
        buffer: Buffer | None = None,
        used: Collection[str] | None = None,
    ) -> dict[str, Array]:
        """The columns that are not resident, of so many steps from `first` on: [*keys, steps, batch, …].

        All of them, or those that are `used`. Any row stands where one of the buffer is drawn.
        """

    @abstractmethod
    def steps_at_once(self, steps: int, rows_of_step: int) -> int:
        """How many of so many steps one compiled call should take, each of so many rows."""


@final
class DeviceRows(DataRows):
    """All columns on the device."""

    def __init__(self, columns: dict[str, Array]):
        self.resident = columns
        self.count = columns["rewards"].shape[0]

    def take(self, numbers: Int[np.ndarray, "*batch"]) -> dict[str, Array]:
        """As `DataRows.take`."""
        return {name: column[numbers] for name, column in self.resident.items()}

    def hold(self, rows: Int[np.ndarray, " m"], blocks: Blocks, axis: int) -> dict[str, Array]:
        """As `DataRows.hold`: NaN stands in the other rows."""
        held: dict[str, Array] = {}
        for numbers, part in blocks:
            held = held or {name: self._empty(column, axis) for name, column in part.items()}
            held = _write(held, numbers, part, axis)
            jax.block_until_ready(held)
        return held

    def _empty(self, part: Array, axis: int) -> Array:
        shape = (*part.shape[:axis], self.count, *part.shape[axis + 1 :])
        where = part.sharding if len(part.sharding.device_set) > 1 else None
        return jnp.full(shape, jnp.nan, part.dtype, device=where)

    def batches(
        self,
        keys: PRNGKeyArray,
        first: int,
        steps: int,
        batch_size: int,
        buffer: Buffer | None = None,
        used: Collection[str] | None = None,
    ) -> dict[str, Array]:
        """Nothing: everything is resident."""
        return {}

    def steps_at_once(self, steps: int, rows_of_step: int) -> int:
        """All: nothing has to be gathered."""
        return steps


@partial(jax.jit, static_argnums=3, donate_argnums=0)
def _write(columns: dict[str, Array], rows: Array, part: dict[str, Array], axis: int) -> dict[str, Array]:
    at = (slice(None),) * axis + (rows,)
    return {name: columns[name].at[at].set(part[name]) for name in columns}


@final
class HostRows(DataRows):
    """Data that stay where they are, perhaps mapped from files that are larger than the memory.

    `scratch` is a folder for what is held of them, without which it is in memory.
    """

    def __init__(self, data: Transitions, scaler: ObservationScaler, scratch: Path | None = None):
        self._scaler, self.count, self.resident = scaler, len(data), {}
        self._gatherer = Gatherer(data, scratch)

    def take(self, numbers: Int[np.ndarray, "*batch"]) -> dict[str, Array]:
        """As `DataRows.take`."""
        return _in_units(self._gatherer.gather(numbers), self._scaler)

    def hold(self, rows: Int[np.ndarray, " m"], blocks: Blocks, axis: int) -> dict[str, Array]:
        """As `DataRows.hold`: nothing is on the device."""
        self._gatherer.hold(rows, blocks, axis)
        return {}

    def batches(
        self,
        keys: PRNGKeyArray,
        first: int,
        steps: int,
        batch_size: int,
        buffer: Buffer | None = None,
        used: Collection[str] | None = None,
    ) -> dict[str, Array]:
        """As `DataRows.batches`. The next ones, if they go on from here, are gathered meanwhile."""
        totals = np.full(keys.shape, self.count)
        if buffer is not None:
            totals = totals + np.minimum(
                np.asarray(buffer.added), next(iter(buffer.columns.values())).shape[keys.ndim]
            )
        request = Request.of(keys, totals, first, steps, batch_size, used)
        return self._gatherer.ahead(request, lambda columns: _in_units(columns, self._scaler))

    def steps_at_once(self, steps: int, rows_of_step: int) -> int:
        """As many as are gathered within a fixed memory; equal parts, if they can be."""
        return self._gatherer.steps_at_once(steps, rows_of_step)


def row_columns(data: Transitions, scaler: ObservationScaler) -> dict[str, Array]:
    """A data set as columns: observations in the run's units, terminations 0 or 1."""
    actions, known = data.following_actions()
    columns = {name: np.asarray(column) for name, column in data.columns().items() if name != "ends"}
    return _in_units(columns | {"following_actions": actions, "followed": known}, scaler)


def _in_units(columns: Mapping[str, np.ndarray], scaler: ObservationScaler) -> dict[str, Array]:
    arrays = {name: jnp.asarray(column) for name, column in columns.items()}
    for name in arrays.keys() & {"observations", "next_observations"}:
        arrays[name] = scaler(arrays[name])
    for name in arrays.keys() & {"terminations", "followed"}:
        arrays[name] = arrays[name].astype(jnp.float32)
    return arrays
