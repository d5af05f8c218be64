"""Gradient descent on any loss of the rows of a problem: compiled chunks, averaged parameters, progress."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from tiltflow.errors import TrainingDiverged, UserError
from tiltflow.guidance.contract import FitConfig
from tiltflow.guidance.problem import Problem
from tiltflow.optimize import Columns, Metrics, TrainState, begin, gradient_step, run_steps

_CHUNKS = 50
_POOL = 1 << 22

RowNumbers = Mapping[str, Int[Array, " r"]]
"""Row numbers to draw batches from, by the prefix of the columns that they give."""

FitProgress = Callable[[str, int, int, float], None]
"""(what is trained, steps done, steps in all, mean loss of the last of them)"""


class Loss(Protocol):
    """A loss of a model on a batch. Losses are frozen dataclasses: equal ones share one compilation.

    Where `descend` is given other models that stay as they are, they are further arguments.
    """

    def __call__(self, model: Any, batch: Columns, key: PRNGKeyArray, *given: Any) -> Float[Array, ""]: ...


@dataclass(frozen=True)
class _Descent:
    """What of a config the compiled steps depend on."""

    steps: int
    batch_size: int
    learning_rate: float
    decay: str
    ema: float

    @property
    def optimizer(self) -> optax.GradientTransformation:
        if self.decay == "none":
            return optax.adam(self.learning_rate)
        return optax.adam(optax.cosine_decay_schedule(self.learning_rate, self.steps))


class Trainer:
    """Trains the networks of one fit with its settings, and keeps their losses and what is to be told."""

    def __init__(
        self,
        config: FitConfig,
        progress: FitProgress | None = None,
        trained: Mapping[str, Sequence[np.ndarray]] | None = None,
    ):
        """`trained`: the arrays of each network by its name, which are taken in the place of training."""
        self._config, self._progress, self._trained = config, progress, trained
        self.networks: dict[str, Any] = {}
        """What came out, by name."""
        self.losses: dict[str, list[float]] = {}
        """Mean loss of each chunk of steps, by network."""
        self.notes: list[str] = []
        """What the user should know."""

    def descend(
        self,
        what: str,
        model: Any,
        loss: Loss,
        columns: Columns,
        rows: RowNumbers,
        key: PRNGKeyArray,
        *given: Any,
        batch_size: int | None = None,
    ) -> Any:
        """Train `model`, called `what` in progress and losses; returns its averaged parameters.

        A batch holds `columns` at numbers drawn uniformly from `rows`; several such lists, of equal length,
        are given by a prefix for the columns' names each. Raises TrainingDiverged.
        """
        if self._trained is not None:
            self.networks[what] = _with_arrays(model, self._trained[what], what)
            return self.networks[what]
        config = self._config
        settings = _Descent(
            config.steps, batch_size or config.batch_size, config.learning_rate, config.decay, config.ema
        )
        state = (_start(settings, model), jnp.zeros((), jnp.int32))
        length = -(-config.steps // _CHUNKS)
        history = self.losses[what] = []
        done = 0
        while done < config.steps:
            count = min(length, config.steps - done)
            state, losses = _chunk(
                loss, settings, length, state, columns, rows, key, jnp.int32(done), jnp.int32(count), given
            )
            mean = float(jnp.mean(losses[:count]))
            done += count
            if not np.isfinite(mean):
                raise TrainingDiverged(
                    f"Training diverged: the loss of the {what} became {mean} within steps "
                    f"{done - count + 1} to {done}. Lower the learning rate ({config.learning_rate:g}) or "
                    "beta."
                )
            history.append(mean)
            if self._progress is not None:
                self._progress(what, done, config.steps, mean)
        self.networks[what] = state[0].ema
        return state[0].ema


def _with_arrays(model: Any, arrays: Sequence[np.ndarray], what: str) -> Any:
    """The model with other arrays. Raises UserError where they are not those of such a model."""
    leaves, structure = jax.tree.flatten(model)
    shapes, theirs = ([(leaf.shape, leaf.dtype) for leaf in found] for found in (leaves, arrays))
    if shapes != theirs:
        raise UserError(f"the arrays of the {what} are not of its sizes.")
    return jax.tree.unflatten(structure, map(jnp.asarray, arrays))


def columns_of(problem: Problem) -> dict[str, Array]:
    """Points, and their conditions where there are any."""
    columns = {"points": jnp.asarray(problem.points)}
    if problem.condition is not None:
        columns["condition"] = jnp.asarray(problem.condition)
    return columns


def uniform_rows(problem: Problem) -> RowNumbers:
    """Every row once."""
    return {"": jnp.arange(len(problem.points), dtype=jnp.int32)}


def finite_rows(problem: Problem) -> RowNumbers:
    """Every row once whose energy is finite: the others are excluded from every tilt."""
    return {"": jnp.asarray(np.flatnonzero(np.isfinite(problem.energies)), jnp.int32)}


def random_rows(problem: Problem, seed: int) -> Int[Array, " r"]:
    """As many independent uniform draws as `weighted_rows` gives."""
    rng = np.random.default_rng([seed, 1])
    return jnp.asarray(rng.integers(len(problem.points), size=_POOL, dtype=np.int32))


def weighted_rows(problem: Problem, seed: int) -> Int[Array, " r"]:
    """Row numbers in proportion to the weights: uniform draws of them are draws of the tilted data.

    Systematic resampling: row i is there r·w_i/n times, rounded up or down by one common random offset.
    """
    cumulative = np.cumsum(problem.weights.astype(np.float64))
    ticks = (np.arange(_POOL) + np.random.default_rng(seed).random()) / _POOL
    upto = np.searchsorted(ticks, cumulative / cumulative[-1])
    upto[-1] = _POOL
    return jnp.asarray(np.repeat(np.arange(len(upto), dtype=np.int32), np.diff(upto, prepend=0)))


@partial(jax.jit, static_argnums=0)
def _start(settings: _Descent, model: Any) -> TrainState:
    return begin(model, settings.optimizer)


@partial(jax.jit, static_argnums=(0, 1, 2), donate_argnums=3)
def _chunk(
    loss: Loss,
    settings: _Descent,
    room: int,
    state: tuple[TrainState, Array],
    columns: Columns,
    rows: RowNumbers,
    key: PRNGKeyArray,
    first: Int[Array, ""],
    length: Int[Array, ""],
    given: tuple[Any, ...],
) -> tuple[tuple[TrainState, Array], Float[Array, " steps"]]:
    def update(state: tuple[TrainState, Array], batch: Columns, key: PRNGKeyArray) -> tuple[Any, Metrics]:
        trained, step = state
        drawn = {
            prefix + name: column[numbers]
            for prefix, numbers in batch.items()
            for name, column in columns.items()
        }

        def value(model: Any) -> tuple[Float[Array, ""], Metrics]:
            result = loss(model, drawn, key, *given)
            return result, {"loss": result}

        # The average forgets its start: without this a short training would end near the initial network.
        ema = jnp.minimum(settings.ema, (1.0 + step) / (10.0 + step))
        trained, metrics = gradient_step(trained, settings.optimizer, value, ema=ema)
        return (trained, step + 1), metrics

    state, metrics = run_steps(
        update, state, rows, key, first, num_steps=length, batch_size=settings.batch_size, room=room
    )
    return state, metrics["loss"]
