"""The one in-memory form of an offline data set."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, final

import numpy as np
from jaxtyping import Bool, Float, Int


class Spec(NamedTuple):
    """What an agent needs to know of a data set: what its networks see, and the size of an action.

    Features are float32 and unbounded; actions are float32 in [−1, 1].
    """

    observation_size: int
    """Features of an observation."""
    action_size: int
    encode: Callable[[Any], Any] | None = None
    """(observations, a tree of arrays [n, …]) -> features [n, observation_size]; None: they are the features.
    It has no parameters that are trained."""


@dataclass(frozen=True)
class Transitions:
    """N transitions (s, a, r, s'), in the order in which they were recorded.

    A time limit is an end but not a termination: only `terminations` cut the Bellman backup.
    """

    observations: Float[np.ndarray, "n o"]
    actions: Float[np.ndarray, "n a"]
    rewards: Float[np.ndarray, " n"]
    next_observations: Float[np.ndarray, "n o"]
    terminations: Bool[np.ndarray, " n"]
    ends: Bool[np.ndarray, " n"]
    discounts: Float[np.ndarray, " n"] | None = None
    """What the value of s' counts in that of s, where rows differ in it: γᵏ of a row that spans k steps."""

    def __len__(self) -> int:
        return len(self.rewards)

    @property
    def spec(self) -> Spec:
        return Spec(self.observations.shape[1], self.actions.shape[1])

    def columns(self) -> dict[str, np.ndarray]:
        """The arrays by name, of `discounts` only where there are any."""
        columns = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: column for name, column in columns.items() if column is not None}

    def following_actions(
        self, rows: Int[np.ndarray, " m"] | None = None
    ) -> tuple[Float[np.ndarray, "m a"], Bool[np.ndarray, " m"]]:
        """The action taken in the next state of these rows, by default of all, and whether the data say it.

        They do where the next row begins in the state in which this one ends: not at an episode's end, and
        nowhere in rows that have been shuffled. Elsewhere the action is zero.
        """
        rows = np.arange(len(self)) if rows is None else rows
        after = np.minimum(rows + 1, len(self) - 1)
        known = ~self.ends[rows] & (rows < after)
        known &= (self.next_observations[rows] == self.observations[after]).all(axis=1)
        return np.where(known[:, None], self.actions[after], 0).astype(np.float32), known

    def take(self, rows: np.ndarray | slice) -> "Transitions":
        """The given rows."""
        return Transitions(**{name: column[rows] for name, column in self.columns().items()})

    @property
    def mapped(self) -> bool:
        """Whether observations lie in a file, perhaps of more than the memory."""
        return isinstance(self.observations, (np.memmap, ChosenRows))

    @property
    def nbytes(self) -> int:
        """What the columns take where all of them are in memory."""
        return sum(column.nbytes for column in self.columns().values())

    def choose(self, rows: Int[np.ndarray, " m"]) -> "Transitions":
        """The given rows, of which columns of vectors in a file are only read where they are indexed."""
        numbers = rows.astype(np.int32 if len(self) < 2**31 else np.int64)

        def chosen(column: np.ndarray) -> Any:
            apart = isinstance(column, np.memmap) and column.ndim > 1
            return ChosenRows(column, numbers) if apart else column[rows]

        return Transitions(**{name: chosen(column) for name, column in self.columns().items()})


@final
class ChosenRows:
    """Some rows of an array in a file, [n, …], read where they are indexed."""

    def __init__(self, column: np.ndarray, numbers: Int[np.ndarray, " n"]):
        self.column, self.numbers = column, numbers
        self.shape, self.dtype, self.ndim = (len(numbers), *column.shape[1:]), column.dtype, column.ndim
        self.nbytes = len(numbers) * column[:1].nbytes

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, rows: Any) -> np.ndarray:
        return self.column[self.numbers[rows]]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.column[self.numbers], dtype)
