"""Where a run keeps its data: on the device, or on the host, which gathers the batches of each chunk."""

from abc import ABC, abstractmethod
from functools import partial
from typing import final

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PRNGKeyArray

from tiltflow.data.transitions import Transitions
from tiltflow.optimize import Buffer, draw_batches
from tiltflow.training.policy import ObservationScaler


class DataRows(ABC):
    """The rows that batches are drawn of; both kinds give the same bits."""

    count: int
    resident: dict[str, Array]
    """Columns on the device, of which the compiled chunk gathers its batches itself."""

    @abstractmethod
    def take(self, numbers: Int[np.ndarray, "*batch"]) -> dict[str, Array]:
        """The columns of the rows of these numbers, each [*batch, …]."""

    @abstractmethod
    def batches(
        self, keys: PRNGKeyArray, first: int, steps: int, batch_size: int, buffer: Buffer | None = None
    ) -> dict[str, Array]:
        """The columns that are not resident, of so many steps from `first` on: [*keys, steps, batch, …].

        Any row stands where one of the buffer is drawn.
        """


@final
class DeviceRows(DataRows):
    """All columns on the device."""

    def __init__(self, columns: dict[str, Array]):
        self.resident = columns
        self.count = columns["rewards"].shape[0]

    def take(self, numbers: Int[np.ndarray, "*batch"]) -> dict[str, Array]:
        """As `DataRows.take`."""
        return {name: column[numbers] for name, column in self.resident.items()}

    def batches(
        self, keys: PRNGKeyArray, first: int, steps: int, batch_size: int, buffer: Buffer | None = None
    ) -> dict[str, Array]:
        """Nothing: everything is resident."""
        return {}


@final
class HostRows(DataRows):
    """Data that stay where they are, perhaps mapped from files that are larger than the memory."""

    def __init__(self, data: Transitions, scaler: ObservationScaler):
        self._data, self._scaler = data, scaler
        self.count, self.resident = len(data), {}

    def take(self, numbers: Int[np.ndarray, "*batch"]) -> dict[str, Array]:
        """As `DataRows.take`."""
        columns = row_columns(self._data, self._scaler, numbers.reshape(-1))
        return {name: x.reshape(*numbers.shape, *x.shape[1:]) for name, x in columns.items()}

    def batches(
        self, keys: PRNGKeyArray, first: int, steps: int, batch_size: int, buffer: Buffer | None = None
    ) -> dict[str, Array]:
        """As `DataRows.batches`: their row numbers are drawn on the device."""
        totals = jnp.full(keys.shape, self.count)
        if buffer is not None:
            filled = jax.vmap(lambda one: one.filled) if keys.ndim else lambda one: one.filled
            totals = totals + filled(buffer)
        numbers = draw_numbers(keys.reshape(-1), totals.reshape(-1), first, steps, batch_size)
        own = np.minimum(np.asarray(numbers), self.count - 1)
        return self.take(own.reshape(*keys.shape, steps, batch_size))


@partial(jax.jit, static_argnums=(3, 4))
def draw_numbers(
    keys: PRNGKeyArray, totals: Int[Array, " seeds"], first: int, steps: int, batch_size: int
) -> Int[Array, "seeds steps b"]:
    """The row numbers that the batches of so many steps from `first` on have, of `totals` rows."""
    return jax.vmap(lambda key, rows: draw_batches(key, first, steps, batch_size, rows)[0])(keys, totals)


def row_columns(
    data: Transitions, scaler: ObservationScaler, numbers: Int[np.ndarray, " n"] | None = None
) -> dict[str, Array]:
    """Rows of a data set as columns, by default all: observations in the run's units, terminations 0 or 1."""
    chosen = data if numbers is None else data.take(numbers)
    columns = {name: jnp.asarray(column) for name, column in chosen.columns().items() if name != "ends"}
    for name in ("observations", "next_observations"):
        columns[name] = scaler(columns[name])
    columns["terminations"] = columns["terminations"].astype(jnp.float32)
    actions, known = data.following_actions(numbers)
    return columns | {"following_actions": jnp.asarray(actions), "followed": jnp.asarray(known, jnp.float32)}
