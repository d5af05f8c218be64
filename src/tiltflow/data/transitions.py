"""The one in-memory form of an offline data set."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float


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

    def __len__(self) -> int:
        return len(self.rewards)

    @property
    def spec(self) -> Spec:
        return Spec(self.observations.shape[1], self.actions.shape[1])

    def columns(self) -> dict[str, np.ndarray]:
        """The arrays by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def following_actions(self) -> tuple[Float[np.ndarray, "n a"], Bool[np.ndarray, " n"]]:
        """The action taken in each next state, and whether the data say it.

        They do where the next row begins in the state in which this one ends: not at an episode's end, and
        nowhere in rows that have been shuffled. Elsewhere the action is zero.
        """
        known = ~self.ends
        known[-1] = False
        known[:-1] &= (self.next_observations[:-1] == self.observations[1:]).all(axis=1)
        actions = np.where(known[:, None], np.roll(self.actions, -1, axis=0), 0).astype(np.float32)
        return actions, known

    def take(self, rows: np.ndarray | slice) -> "Transitions":
        """The given rows."""
        return Transitions(**{name: column[rows] for name, column in self.columns().items()})
