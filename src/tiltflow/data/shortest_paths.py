"""Shortest paths between the cells of a maze."""

from collections import deque
from collections.abc import Iterable

import numpy as np

Cell = tuple[int, int]


def free_cells(walls: np.ndarray) -> list[Cell]:
    """The cells that are no wall, row by row; `walls` [rows, columns] is true at walls."""
    return [(int(row), int(column)) for row, column in np.argwhere(~walls)]


def next_cells(walls: np.ndarray, goal: Cell) -> dict[Cell, Cell]:
    """For every cell that reaches the goal: the neighbour one step nearer to it (the goal for itself)."""
    following = {goal: goal}
    queue = deque([goal])
    while queue:
        cell = queue.popleft()
        for neighbour in _neighbours(cell):
            if neighbour not in following and not walls[neighbour]:
                following[neighbour] = cell
                queue.append(neighbour)
    return following


def _neighbours(cell: Cell) -> Iterable[Cell]:
    row, column = cell
    return (row - 1, column), (row, column - 1), (row + 1, column), (row, column + 1)
