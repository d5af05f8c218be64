"""The columns that an agent precomputes from its state at a refresh, for the rows that its batches will draw.

A short run on a large data set draws a small part of its rows before the next refresh; the others are not
precomputed, for support actions cost as much as the gradient steps that use them.
"""

from collections.abc import Callable, Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PRNGKeyArray

from tiltflow.agents.base import Stage
from tiltflow.training.gather import draw_numbers
from tiltflow.training.rows import DataRows

BLOCK_ROWS = 4096
WORTH_COUNTING = 3.0
"""Draws per row of the data from which on one row in twenty, at most, is never drawn: all are taken then."""

Precompute = Callable[[Any, dict[str, Array], PRNGKeyArray], dict[str, Array]]


def steps_in_force(stage: Stage, refresh: int) -> range:
    """The steps of the stage whose batches have the columns of that refresh."""
    every = stage.refresh_every or stage.steps
    return range(refresh * every, min(stage.steps, (refresh + 1) * every))


def drawn_rows(
    keys: PRNGKeyArray, stage: Stage, refresh: int, total: int, room: int
) -> Int[np.ndarray, " m"]:
    """Numbers of the rows, of `total`, that some seed's batches draw under that refresh, in order.

    `keys` are those of the stage's steps, one for each seed; as many steps as there is `room` for are drawn
    at a time. All rows where nearly all are drawn, and a few more where fewer are drawn than a block has:
    every block of every refresh is compiled as one shape.
    """
    steps, keys = steps_in_force(stage, refresh), keys.reshape(-1)
    if len(steps) * stage.batch_size * keys.size > WORTH_COUNTING * total:
        return np.arange(total)

    drawn, totals = np.zeros(total, bool), jnp.full(keys.shape, total)
    for first in range(steps.start, steps.stop, room):
        numbers = draw_numbers(keys, totals, first, room, stage.batch_size)
        drawn[np.asarray(numbers)[:, : steps.stop - first]] = True
    lacking = max(min(BLOCK_ROWS, total) - np.count_nonzero(drawn), 0)
    drawn[np.flatnonzero(~drawn)[:lacking]] = True
    return np.flatnonzero(drawn)


def precompute_columns(
    precompute: Precompute,
    state: Any,
    data: DataRows,
    rows: Int[np.ndarray, " m"],
    key_of_block: Callable[[int], PRNGKeyArray],
    *,
    seeds: int,
    done: Callable[[float], None],
) -> dict[str, Array]:
    """`precompute` of those rows, block by block, kept as the data are: see `DataRows.hold`.

    `precompute` is compiled and, for several `seeds`, vmapped over them: its columns are [seeds, rows, …].
    `done` is told the share that is done after each block, and may raise before the next one.
    """
    block = min(BLOCK_ROWS, len(rows))

    def blocks() -> Iterator[tuple[np.ndarray, dict[str, Array]]]:
        for number, first in enumerate(range(0, len(rows), block)):
            first = min(
                first, len(rows) - block
            )  # the last block overlaps the one before: one shape compiles
            chosen = rows[first : first + block]
            yield chosen, precompute(state, data.take(chosen), key_of_block(number))
            done((first + block) / len(rows))

    return data.hold(rows, blocks(), axis=1 if seeds > 1 else 0)
