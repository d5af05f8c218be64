"""The compiled loop of many updates, and the averages of parameters."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tiltflow.optimize import blend, run_steps

ROWS, BATCH, STEPS = 7, 5, 400

pytestmark = pytest.mark.usefixtures("quickly_compiled")


@partial(jax.jit, static_argnames=("steps", "room", "part", "unroll"))
def ran(first, state, *, steps: int | None = None, length: Any = None, **loop: int):
    """The sum of all rows drawn; the rows and a number of the key of every step."""
    count = steps if length is None else length

    def update(state, batch, key):
        return state + jnp.sum(batch["row"]), {"rows": batch["row"], "number": jax.random.uniform(key)}

    columns = {"row": jnp.arange(ROWS)}
    key = jax.random.key(1)
    return run_steps(update, state, columns, key, first, num_steps=count, batch_size=BATCH, **loop)


def test_every_step_draws_rows_and_a_key_of_its_own_and_every_row_as_often():
    _, seen = ran(0, 0, steps=STEPS)
    rows = np.asarray(seen["rows"])
    assert len(np.unique(seen["number"])) == STEPS
    assert len(np.unique(rows, axis=0)) > 0.9 * STEPS
    shares = np.bincount(rows.reshape(-1), minlength=ROWS) / rows.size
    np.testing.assert_allclose(shares, 1 / ROWS, atol=5 * np.sqrt(1 / ROWS / rows.size))


def test_a_training_does_not_depend_on_how_it_is_cut_into_calls():
    whole, seen = ran(0, 0, steps=STEPS)
    half, first = ran(0, 0, steps=11)
    after, last = ran(11, half, steps=STEPS - 11)
    assert after == whole
    for name, values in seen.items():
        np.testing.assert_array_equal(np.concatenate([first[name], last[name]]), values)


@pytest.mark.parametrize("part", [1, 3])
def test_one_program_takes_any_number_of_parts_up_to_its_room(part):
    rows = ran(5, 0, steps=11)[1]["rows"]
    before = ran._cache_size()
    for length in (0, part, 2 * part, 9):
        state, seen = ran(5, 0, room=11, part=part, length=jnp.int32(length))
        assert state == np.sum(rows[:length])
        np.testing.assert_array_equal(seen["rows"][:length], rows[:length])
        assert not np.any(seen["rows"][length:])
    assert ran._cache_size() == before + 1


@pytest.mark.parametrize("loop", [{"steps": 11}, {"length": 9, "room": 11, "part": 3}])
def test_steps_compiled_as_one_piece_are_the_same_steps(loop):
    whole, seen = ran(5, 0, **loop)
    state, in_pieces = ran(5, 0, **loop, unroll=2)
    assert state == whole
    for name, values in seen.items():
        np.testing.assert_array_equal(in_pieces[name], values)


def test_an_average_goes_its_share_of_the_way():
    old, new = {"a": jnp.array([0.0, 4.0])}, {"a": jnp.array([2.0, 0.0])}
    np.testing.assert_allclose(blend(old, new, 0.25)["a"], [0.5, 3.0])
