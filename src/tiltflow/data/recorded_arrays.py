"""A user's own data in memory, and the file that a run reads them from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from tiltflow.data.arrays import write_npz
from tiltflow.data.column_file import choice_file, choice_text
from tiltflow.data.columns import BOUNDS, ColumnChoice, checked_bounds, read_entries
from tiltflow.data.ends import Unfit, flag_column
from tiltflow.data.interface import ActionBounds
from tiltflow.errors import UserError
from tiltflow.files import write_text

_OTHERS = ("rewards", "next_observations", "terminations", "timeouts", "ends")


@dataclass(frozen=True, eq=False)
class RecordedArrays:
    """What was recorded: n rows, a time step each, one episode after the other, in own units.

    Raises UserError where an array holds no numbers, has another number of rows, or is given twice; and for
    bounds that are none.
    """

    observations: ArrayLike | Mapping[str, ArrayLike]
    """[n, o]; or its columns by name, [n] or [n, k], which are joined in this order."""
    actions: ArrayLike | Mapping[str, ArrayLike]
    """[n, a], or its columns likewise."""
    rewards: ArrayLike | None = None
    """[n]; without them only bc-flow and bc-diffusion, which clone, can be trained."""
    terminations: ArrayLike | None = None
    """[n], true in the last row of an episode that truly ended: its next state has no value."""
    timeouts: ArrayLike | None = None
    """[n], true in the last row of an episode that was only cut off."""
    next_observations: ArrayLike | None = None
    """[n, o]; without it the next row's, and the last row of an episode that was cut off is left out."""
    action_bounds: tuple[float | Sequence[float], float | Sequence[float]] | None = None
    """The lowest and the highest action, one number or one for each entry; without it those of the data."""
    name: str = "arrays"
    """What the data are called: the task is file/NAME."""

    def __post_init__(self) -> None:
        rows = {name: len(column) for name, column in self._columns().items()}
        if len(set(rows.values())) > 1:
            counts = ", ".join(f"{name} {count:,}" for name, count in rows.items())
            raise UserError(f"The arrays have different numbers of rows: {counts}. Each needs one a step.")
        seen, done = (list(_parts(role, getattr(self, role)).items()) for role in ("observations", "actions"))
        for name, column in done:
            if same := [other for other, values in seen if values is column]:
                text = f"The array of the actions {name!r} is that of the observations {same[0]!r} too."
                raise UserError(f"{text} Give each array once.")
        if self.action_bounds is not None:
            self._bounds()

    def write(self, path: Path) -> None:
        """Write the arrays to an npz file, and beside it which are joined, where they have own names."""
        columns = self._columns()
        if self.action_bounds is not None:
            columns |= dict(zip(BOUNDS, map(np.array, self._bounds()), strict=True))
        write_npz(path, columns)
        joined = {"observations": self.observations, "actions": self.actions}
        if any(isinstance(parts, Mapping) for parts in joined.values()):
            roles = {role: tuple(_parts(role, parts)) for role, parts in joined.items()}
            if self.next_observations is not None:
                roles["next_observations"] = ("next_observations",)
            write_text(choice_file(path), choice_text(roles, ColumnChoice()))

    def _bounds(self) -> ActionBounds:
        """The lowest and the highest value of each entry of an action."""
        columns, where = self._columns(), f"action_bounds = {self.action_bounds}"
        size = sum(columns[name][:1].size for name in _parts("actions", self.actions))
        given: Any = self.action_bounds
        try:
            below, above = given
        except (TypeError, ValueError) as error:
            raise UserError(f"{where}: give the lowest and the highest action, as in (-2, 2).") from error
        low, high = (read_entries(np.atleast_1d(side).tolist(), where) for side in (below, above))
        low, high = checked_bounds(low, high, where)
        if len(low) not in (1, size):
            raise UserError(f"{where}: there are {len(low)}, but an action has {size} entries.")
        return (low * size, high * size) if len(low) < size else (low, high)

    def _columns(self) -> dict[str, np.ndarray]:
        """The arrays by name, with the flag `ends` in the place of `timeouts`."""
        columns: dict[str, np.ndarray] = {}
        for role in ("observations", "actions"):
            for name, values in _parts(role, getattr(self, role)).items():
                if name in columns or name in (*_OTHERS, *BOUNDS):
                    raise UserError(f"Two columns are called {name!r}: call that of the {role} otherwise.")
                columns[name] = _numbers(name, values)
        rows = len(next(iter(columns.values())))
        for name in _OTHERS[:-1]:
            values = getattr(self, name)
            if name in ("terminations", "timeouts"):
                columns[name] = np.zeros(rows, bool) if values is None else _flags(name, values, rows)
            elif values is not None:
                columns[name] = _numbers(name, values)
        if len(columns["timeouts"]) == len(columns["terminations"]):
            columns["ends"] = columns["terminations"] | columns.pop("timeouts")
        return columns


def _parts(role: str, given: Any) -> Mapping[str, Any]:
    return given if isinstance(given, Mapping) else {role: given}


def _flags(name: str, values: Any, rows: int) -> np.ndarray:
    try:
        return flag_column(name, [_numbers(name, values)], rows)
    except Unfit as fault:
        raise UserError(f"{name} {fault}") from fault


def _numbers(name: str, values: Any) -> np.ndarray:
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise UserError(f"{name} is no array: {error}") from error
    if array.dtype.kind not in "fiub" or not array.ndim:
        raise UserError(
            f"{name} is an array of {array.dtype} {array.shape}, but must hold numbers, a row a step."
        )
    return array
