"""Columns are precomputed for the rows that are drawn, and for no others."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tiltflow.agents.base import Agent, Stage
from tiltflow.agents.bc import BCConfig
from tiltflow.optimize import run_steps
from tiltflow.processes.stopping import StopFlag
from tiltflow.train_config import TrainConfig
from tiltflow.training import precompute
from tiltflow.training.loop import Loop
from tiltflow.training.policy import STAGE, RunState, seed_keys
from tiltflow.training.rows import DeviceRows
from tiltflow.training.schedule import Schedule

TOTAL, BATCH = 1000, 8


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(precompute, "BLOCK_ROWS", 16)


def count_rows(state, batch, key):
    return state.at[batch["number"]].add(1), {}


def stage(steps: int, refresh_every: int | None) -> Stage:
    return Stage("counting", steps, BATCH, count_rows, improves_policy=False, refresh_every=refresh_every)


@pytest.mark.parametrize(("refresh", "first", "count"), [(0, 0, 30), (1, 30, 30), (2, 60, 15)])
@pytest.mark.parametrize("seeds", [[3], [3, 4]])
def test_the_rows_are_those_that_the_batches_of_any_seed_draw(refresh, first, count, seeds):
    keys = seed_keys(seeds, STAGE)
    columns = {"number": jnp.arange(TOTAL)}
    never = jnp.zeros(TOTAL)
    steps = {"num_steps": count, "batch_size": BATCH}
    times = [run_steps(count_rows, never, columns, key, jnp.int32(first), **steps)[0] for key in keys]
    drawn = precompute.drawn_rows(keys if len(seeds) > 1 else keys[0], stage(75, 30), refresh, TOTAL, 20)
    np.testing.assert_array_equal(drawn, np.flatnonzero(sum(times)))
    assert len(drawn) < TOTAL / 2


def test_all_rows_where_nearly_all_are_drawn_and_a_block_where_few_are():
    key = seed_keys([0], STAGE)[0]
    all_rows = precompute.drawn_rows(key, stage(400, None), 0, TOTAL, 20)
    np.testing.assert_array_equal(all_rows, np.arange(TOTAL))
    assert len(precompute.drawn_rows(key, stage(1, None), 0, TOTAL, 20)) == 16


@pytest.mark.parametrize("seeds", [1, 2])
def test_chosen_rows_get_their_columns_and_the_others_none(seeds):
    rows = np.flatnonzero(np.random.default_rng(0).random(100) < 0.4)
    data = DeviceRows({"rewards": jnp.arange(100.0)})

    def double(state, rows, key):
        return {"doubled": state * rows["rewards"][:, None] * jnp.ones(3)}

    function = jax.jit(double if seeds == 1 else jax.vmap(double, in_axes=(0, None, 0)))
    state = jnp.float32(2) if seeds == 1 else jnp.array([2.0, 2.0])
    shares: list[float] = []
    made = precompute.precompute_columns(
        function, state, data, rows, lambda block: seed_keys(list(range(seeds)), block),
        seeds=seeds, done=shares.append,
    )["doubled"]  # fmt: skip
    expected = np.full((100, 3), np.nan)
    expected[rows] = 2.0 * rows[:, None]
    np.testing.assert_array_equal(made, expected if seeds == 1 else np.stack([expected] * 2))
    assert len(shares) == -(-len(rows) // 16)
    assert shares[-1] == 1.0


@pytest.mark.parametrize("seeds", [[0], [0, 1]])
def test_a_loop_that_begins_in_the_middle_of_a_refresh_derives_the_same_rows(seeds):
    """Each seed's state sums precomputed noise of the rows that it draws: a missing one would make it NaN."""

    def noise(state, rows, key):
        return {"noise": state + jax.random.normal(key, rows["rewards"].shape)}

    def add(state, batch, key):
        return state, {"total": jnp.sum(batch["noise"])}

    summing = Stage("summing", 40, BATCH, add, improves_policy=False, refresh_every=20, precompute=noise)
    agent = Agent(lambda key: jnp.zeros(()), (summing,), lambda state, observations, key: observations)
    schedule = Schedule(agent.stages, TrainConfig("bc-flow", "t", BCConfig(), chunk=10, checkpoint_every=10))

    def totals(start: int) -> np.ndarray:
        state = jnp.zeros(()) if len(seeds) == 1 else jnp.zeros(len(seeds))
        loop = Loop(schedule, seeds, DeviceRows({"rewards": jnp.zeros(TOTAL)}), RunState(state, None),
                    lambda event: None, StopFlag())  # fmt: skip
        parts = [loop.run_chunk(here, length)["total"] for here, length in schedule.chunks(start)]
        return np.concatenate(parts, axis=1)

    whole = totals(0)
    assert whole.shape == (len(seeds), 40)
    assert np.isfinite(whole).all()
    np.testing.assert_array_equal(totals(10), whole[:, 10:])
    np.testing.assert_array_equal(totals(30), whole[:, 30:])
