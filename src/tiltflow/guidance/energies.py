"""The energy as something to differentiate: the user's function, or a network fitted to its values."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from tiltflow.errors import UserError
from tiltflow.guidance.contract import FlowFitConfig
from tiltflow.guidance.fit_loop import Trainer, columns_of, finite_rows
from tiltflow.guidance.problem import Problem
from tiltflow.networks import MLP
from tiltflow.optimize import Columns

_ERROR_ROWS = 10_000
_BLOCK = 1 << 16


class FunctionEnergy(eqx.Module):
    """The user's function at points in the networks' units."""

    function: Callable[[Any], Any] = eqx.field(static=True)
    shift: Float[Array, " d"]
    scale: Float[Array, " d"]

    def __call__(self, x: Float[Array, "*batch d"], condition: Array | None = None) -> Float[Array, "*batch"]:
        points = (x * self.scale + self.shift).reshape(-1, x.shape[-1])
        return jnp.asarray(self.function(points)).reshape(x.shape[:-1])


class NetworkEnergy(eqx.Module):
    """unit·net(x, condition): fitted to the values at the data, and a guess anywhere else."""

    network: MLP
    unit: Float[Array, ""]

    def __call__(self, x: Float[Array, "*batch d"], condition: Array | None = None) -> Float[Array, "*batch"]:
        inputs = x if condition is None else jnp.concatenate([x, condition], axis=-1)
        return jax.lax.stop_gradient(self.unit) * self.network(inputs)[..., 0]


PointEnergy = FunctionEnergy | NetworkEnergy
"""E at any points in the networks' units, each at its condition."""


def with_condition(energy: PointEnergy, condition: Array | None) -> Callable[[Array], Array]:
    """The energy of points alone, each at its condition."""
    return lambda x: energy(x, condition)


def energies_at(
    energy: PointEnergy, points: Float[np.ndarray, "n d"], condition: Float[np.ndarray, "n c"] | None
) -> Float[np.ndarray, " n"]:
    """The energy at any number of points, a block at a time; not a number counts as +∞, as excluded."""
    parts = []
    for first in range(0, len(points), _BLOCK):
        given = None if condition is None else jnp.asarray(condition[first : first + _BLOCK])
        parts.append(np.asarray(_energies(energy, jnp.asarray(points[first : first + _BLOCK]), given)))
    values = np.concatenate(parts)
    return np.where(np.isnan(values), np.inf, values)


@jax.jit
def _energies(energy: PointEnergy, points: Array, condition: Array | None) -> Array:
    return energy(points, condition)


def differentiable_energy(
    problem: Problem, config: FlowFitConfig, key: PRNGKeyArray, trainer: Trainer
) -> PointEnergy:
    """The energy of a problem as a function of new points; fitted to its values where it is given by them.

    Raises UserError for a function that JAX cannot differentiate.
    """
    if problem.energy is not None:
        energy = FunctionEnergy(
            _hashable(problem.energy),
            jnp.asarray(problem.shift, jnp.float32),
            jnp.asarray(problem.scale, jnp.float32),
        )
        _try(energy, problem)
        return energy
    init_key, key = jax.random.split(key)
    rows = finite_rows(problem)
    finite = np.asarray(rows[""])
    unit = float(np.std(problem.energies[finite], dtype=np.float64)) or 1.0
    network = MLP(init_key, problem.size + problem.condition_size, 1, **asdict(config.network))
    start = NetworkEnergy(network, jnp.asarray(unit, jnp.float32))
    columns = columns_of(problem) | {"energies": jnp.asarray(problem.energies)}
    fitted = trainer.descend("energy network", start, _squared_error, columns, rows, key)
    trainer.notes.append(_error_note(fitted, problem, finite))
    return fitted


def _hashable(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The function itself where it can be static, as compiled programs are found by."""
    try:
        hash(function)
    except TypeError:
        return lambda x: function(x)
    return function


def _squared_error(model: NetworkEnergy, batch: Columns, key: PRNGKeyArray) -> Float[Array, ""]:
    error = (model(batch["points"], batch.get("condition")) - batch["energies"]) / model.unit
    return jnp.mean(error**2)


def _try(energy: FunctionEnergy, problem: Problem) -> None:
    """One gradient, so that a function of another kind is told before anything is trained."""
    try:
        slope = jax.grad(lambda x: jnp.sum(energy(x)))(jnp.asarray(problem.points[:1]))
    except (jax.errors.JAXTypeError, TypeError, ValueError) as error:
        raise UserError(
            "The energy is a function that JAX cannot differentiate: write it with jax.numpy, or give its "
            f"value at each row, to which a network is then fitted. ({str(error).splitlines()[0]})"
        ) from error
    if not np.all(np.isfinite(slope)):
        raise UserError(f"The gradient of the energy at row 0 of the points is {np.asarray(slope)[0]}.")


def _error_note(energy: NetworkEnergy, problem: Problem, finite: np.ndarray) -> str:
    rows = finite[:: max(1, len(finite) // _ERROR_ROWS)]
    condition = None if problem.condition is None else jnp.asarray(problem.condition[rows])
    truth = problem.energies[rows].astype(np.float64)
    error = np.asarray(energy(jnp.asarray(problem.points[rows]), condition), np.float64) - truth
    return (
        "The energy was given by its values: a second network was fitted to them. Its error at the data is "
        f"{np.sqrt(np.mean(error**2)):.3g} (root mean square), where the energies spread by "
        f"{np.std(truth):.3g}; between and beyond the data it is a guess."
    )
