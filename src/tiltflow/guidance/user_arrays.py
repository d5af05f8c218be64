"""Arrays of the user, as numbers; what cannot be used is named with its row."""

from typing import Any

import numpy as np
from jaxtyping import Float

from tiltflow.errors import UserError


def as_numbers(name: str, values: Any) -> np.ndarray:
    """The values in double precision. Raises UserError where they are no numbers."""
    try:
        return np.asarray(values, np.float64)
    except (TypeError, ValueError) as error:
        raise UserError(f"{name} cannot be read as numbers: {error}") from error


def as_column(name: str, values: Any, n: int) -> Float[np.ndarray, " n"]:
    """The values as one number for each of n rows. Raises UserError for another shape."""
    column = as_numbers(name, values)
    if column.shape not in ((n,), (n, 1)):
        raise UserError(
            f"{name} has shape {column.shape}, but there are {n} rows of points: give one value each."
        )
    return column.reshape(n)


def refuse_infinite(name: str, values: np.ndarray) -> None:
    """Raise UserError for the first row that is not finite."""
    refuse(name, ~np.all(np.isfinite(values), axis=1), "is not finite", values)


def refuse(name: str, wrong: np.ndarray, what: str, values: np.ndarray) -> None:
    """Raise UserError for the first row that is `wrong`; `what` says how."""
    if wrong.any():
        row = int(np.argmax(wrong))
        raise UserError(
            f"{name}, row {row} (counted from 0), {what}: {values[row]}; {int(wrong.sum())} of {len(wrong)} "
            "rows are like that. Leave these rows out."
        )
