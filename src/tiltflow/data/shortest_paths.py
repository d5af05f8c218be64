"""Shortest paths between the cells of a maze."""

from collections import deque

import numpy as np

MazeCell = tuple[int, int]


def free_cells(walls: np.ndarray) -> list[MazeCell]:
    """The cells that are no wall, row by row; `walls` [rows, columns] is true at walls."""
    return [(int(row), int(column)) for row, column in np.argwhere(~walls)]


def next_cells(walls: np.ndarray, goal: MazeCell) -> dict[MazeCell, MazeCell]:
    """For every cell that reaches the goal: the neighbour one step nearer to it (the goal for itself).

    Of several such neighbours the first of (up, left, down, right) is taken.
    """
    distance = {goal: 0}
    queue = deque([goal])
    while queue:
        cell = queue.popleft()
        for neighbour in _neighbours(cell):
            if neighbour not in distance and not walls[neighbour]:
                distance[neighbour] = distance[cell] + 1
                queue.append(neighbour)
    return {
        cell: min([cell, *_neighbours(cell)], key=lambda other: distance.get(other, len(distance)))
        for cell in distance
    }


def _neighbours(cell: MazeCell) -> tuple[MazeCell, MazeCell, MazeCell, MazeCell]:
    row, column = cell
    return (row - 1, column), (row, column - 1), (row + 1, column), (row, column + 1)
