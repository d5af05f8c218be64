"""Mean and standard deviation of observations, in memory or block by block of a file, with the same bits."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from tiltflow.data.transitions import ChosenRows

_BLOCK = 4096


class Moments(NamedTuple):
    """Of each entry of the observations, in double precision."""

    mean: Float[np.ndarray, " o"]
    std: Float[np.ndarray, " o"]


def stored_moments(record: dict[str, Any] | None) -> Moments | None:
    """As `Moments._asdict` was written to a JSON file."""
    if record is None:
        return None
    return Moments(*(np.array(record[name], np.float64) for name in Moments._fields))


def observation_moments(observations: Float[np.ndarray, "n o"]) -> Moments:
    """NumPy's, whose sums go from row to row; of rows in a file those sums are taken block by block.

    A single entry is summed in another order, and is read as a whole.
    """
    if not isinstance(observations, (np.memmap, ChosenRows)) or observations.shape[1] == 1:
        whole = np.asarray(observations)
        return Moments(whole.mean(axis=0, dtype=np.float64), whole.std(axis=0, dtype=np.float64))
    mean = _sums(observations, None) / len(observations)
    return Moments(mean, np.sqrt(_sums(observations, mean) / len(observations)))


def _sums(observations: np.ndarray, mean: np.ndarray | None) -> np.ndarray:
    """Σ x, or Σ (x − mean)²."""
    total = np.zeros(observations.shape[1])
    for first in range(0, len(observations), _BLOCK):
        block = observations[first : first + _BLOCK].astype(np.float64)
        if mean is not None:
            block -= mean
            block *= block
        total = np.add.reduce(np.concatenate([total[None], block]), axis=0)
    return total
