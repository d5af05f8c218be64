"""Which columns of a batch the steps of a stage depend on: the others need not be gathered."""

from collections.abc import Collection
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from tiltflow.agents.base import Stage
from tiltflow.optimize import Columns, Update


def used_columns(stage: Stage, state: Any, rows: dict[str, Array]) -> frozenset[str]:
    """The names of those columns of `rows`, a batch without precomputed ones, that the update reads.

    `state` is that of one seed, or its shapes.
    """
    key, names = jax.random.key(0), sorted(rows)

    def update(state: Any, columns: list[Array]) -> Any:
        batch = dict(zip(names, columns, strict=True))
        more = stage.precompute(state, batch, key) if stage.precompute else {}
        return stage.update(state, {**batch, **jax.lax.stop_gradient(more)}, key)

    program = jax.make_jaxpr(update)(state, [rows[name] for name in names]).jaxpr
    read = {id(value) for step in program.eqns for value in step.invars} | set(map(id, program.outvars))
    return frozenset(
        name for name, value in zip(names, program.invars[-len(names) :], strict=True) if id(value) in read
    )


def with_blanks(update: Update, rows: dict[str, Array], used: Collection[str]) -> Update:
    """The update of batches that have only the columns that it depends on; zeros stand for the others."""

    def filled(state: Any, batch: Columns, key: Array) -> Any:
        blank = {name: jnp.zeros_like(column) for name, column in rows.items() if name not in used}
        return update(state, {**blank, **batch}, key)

    return filled
