"""Training of anything: gradient steps, parameter averages, and one compiled loop of many updates."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

Metrics = Mapping[str, Float[Array, ""]]
Columns = Mapping[str, Float[Array, "n ..."]]
Update = Callable[[Any, Columns, PRNGKeyArray], tuple[Any, Metrics]]


class TrainState(NamedTuple):
    """A model under training: its parameters, their exponential moving average, the optimiser's state."""

    params: Any
    ema: Any
    optimizer: optax.OptState


def begin(model: Any, optimizer: optax.GradientTransformation) -> TrainState:
    """Start training `model` afresh; the average starts at the model."""
    copy = jax.tree.map(jnp.array, model)  # its own buffers: a donated state must not hold one twice
    return TrainState(model, copy, optimizer.init(model))


def gradient_step(
    trained: TrainState,
    optimizer: optax.GradientTransformation,
    loss: Callable[[Any], tuple[Float[Array, ""], Metrics]],
    *,
    ema: float | Array = 0.0,
    step: float | Array | None = None,
) -> tuple[TrainState, Metrics]:
    """One step down the gradient of `loss(model) -> (value, metrics)`; the average decays by `ema`.

    Or it goes the share `step` of the way to the model, which is 1 − ema.
    """
    step = 1.0 - ema if step is None else step
    (_, metrics), gradient = jax.value_and_grad(loss, has_aux=True)(trained.params)
    # optax raises floats to whole numbers, which a program of strict types forbids.
    with jax.numpy_dtype_promotion("standard"):
        changes, state = optimizer.update(gradient, trained.optimizer, trained.params)
    model = optax.apply_updates(trained.params, changes)
    return TrainState(model, blend(trained.ema, model, step), state), metrics


def blend(old: Any, new: Any, share: float | Array) -> Any:
    """(1 − share)·old + share·new, leaf by leaf: Polyak averaging."""
    return jax.tree.map(lambda a, b: a + share * (b - a), old, new)


class Buffer(NamedTuple):
    """Rows added to a data set while a model is trained on it. There is room for so many; the newest stay."""

    columns: Columns
    """[capacity, …]"""
    added: Int[Array, ""]
    """Rows added so far."""

    @property
    def capacity(self) -> int:
        return next(iter(self.columns.values())).shape[0]

    @property
    def filled(self) -> Int[Array, ""]:
        """Rows that are there."""
        return jnp.minimum(self.added, self.capacity)

    def add(self, rows: Columns) -> "Buffer":
        """With these rows, too; where there is no room they take the place of the oldest."""
        count = next(iter(rows.values())).shape[0]
        at = (self.added + jnp.arange(count)) % self.capacity
        columns = {name: column.at[at].set(rows[name]) for name, column in self.columns.items()}
        return Buffer(columns, self.added + count)

    def fill_in(self, batch: Columns, numbers: Int[Array, " b"]) -> Columns:
        """The batch with the buffer's rows of these numbers; it keeps its own where a number is negative."""
        at, own = jnp.maximum(numbers, 0), numbers < 0
        return {
            name: jnp.where(own.reshape(-1, *(1,) * (value.ndim - 1)), value, self.columns[name][at])
            for name, value in batch.items()
        }


def draw_rows(
    key: PRNGKeyArray, step: Int[Array, ""], batch_size: int, rows: int | Int[Array, ""]
) -> tuple[Int[Array, " b"], PRNGKeyArray]:
    """The row numbers of one step's batch, of `rows` with replacement, and the key of the step's update."""
    row_key, update_key = jax.random.split(jax.random.fold_in(key, step))
    return jax.random.randint(row_key, (batch_size,), 0, rows), update_key


def draw_batches(
    key: PRNGKeyArray,
    first_step: int | Int[Array, ""],
    num_steps: int,
    batch_size: int,
    rows: int | Int[Array, ""],
) -> tuple[Int[Array, "steps b"], PRNGKeyArray]:
    """`draw_rows` of so many steps from `first_step` on."""
    return jax.vmap(lambda step: draw_rows(key, step, batch_size, rows))(first_step + jnp.arange(num_steps))


def run_steps(
    update: Update,
    state: Any,
    columns: Columns,
    key: PRNGKeyArray,
    first_step: Int[Array, ""],
    *,
    num_steps: int | Int[Array, ""],
    batch_size: int,
    room: int | None = None,
    part: int = 1,
    unroll: int = 1,
    rows: int | None = None,
    gathered: Columns | None = None,
    buffer: Buffer | None = None,
) -> tuple[Any, dict[str, Float[Array, " steps"]]]:
    """`num_steps` updates in one loop, each on `batch_size` rows drawn uniformly with replacement.

    Step i uses only `fold_in(key, i)`, so the result does not depend on how a run is cut into calls.
    Row numbers of all steps are drawn before the loop. Batches that the caller has gathered already, from so
    many `rows`, come as `gathered` [steps, batch, …]. The rows of a `buffer` are drawn like the others.
    Returns the state and every metric of every step. With `room`, `num_steps` may be any multiple of `part`
    up to it, and one that is not known when this is compiled: `gathered` then has `room` steps, as have the
    metrics, which are 0 behind the last step that is taken. An accelerator waits for the host once a part.
    So many steps of a part as `unroll` says are compiled as one piece.
    """
    room = int(num_steps) if room is None else room
    if rows is None:
        rows = next(iter(columns.values())).shape[0]
    total = rows if buffer is None else rows + buffer.filled
    drawn = (*draw_batches(key, first_step, room, batch_size, total), gathered or {})

    @jax.jit  # traced once, for the shapes of the metrics and for the loop
    def step(state: Any, number: Int[Array, ""]) -> tuple[Any, dict[str, Array]]:
        indices, update_key, batch = jax.tree.map(lambda of_all: of_all[number], drawn)
        own = indices if buffer is None else jnp.minimum(indices, rows - 1)
        batch = {**batch, **{name: column[own] for name, column in columns.items()}}
        if buffer is not None:
            batch = buffer.fill_in(batch, indices - rows)
        state, metrics = update(state, batch, update_key)
        return state, dict(metrics)

    def body(number: Int[Array, ""], carried: tuple[Any, dict[str, Array]]) -> tuple[Any, dict[str, Array]]:
        state, taken = step(carried[0], number)
        return state, {name: values.at[number].set(taken[name]) for name, values in carried[1].items()}

    def steps_of_part(index: Int[Array, ""], carried: Any) -> Any:
        return jax.lax.fori_loop(
            0, part, lambda number, now: body(index * part + number, now), carried, unroll=min(unroll, part)
        )

    _, metrics = jax.eval_shape(step, state, jnp.int32(0))
    empty = {name: jnp.zeros((room, *value.shape), value.dtype) for name, value in metrics.items()}
    if part == 1:
        pieces = unroll if isinstance(num_steps, int) and unroll > 1 else None
        return jax.lax.fori_loop(0, num_steps, body, (state, empty), unroll=pieces)
    return jax.lax.fori_loop(0, num_steps // part, steps_of_part, (state, empty))
