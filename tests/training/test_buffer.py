"""Rows that a stage adds to the data: drawn as often as the others, and kept by checkpoints."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.training.test_rows import some_transitions

from tiltflow.agents.base import Agent, Stage
from tiltflow.agents.bc import BCConfig
from tiltflow.data.transitions import Spec
from tiltflow.optimize import Buffer
from tiltflow.processes.stopping import StopFlag
from tiltflow.run_folder import RunFolder
from tiltflow.training import checkpoints
from tiltflow.training.config import TrainConfig
from tiltflow.training.loop import Loop
from tiltflow.training.policy import RunState, identity_scaler, init_state
from tiltflow.training.rows import DeviceRows, HostRows, row_columns
from tiltflow.training.schedule import Schedule

DATA, ADDED, CAPACITY, BATCH, CHUNK = 60, 20, 50, 32, 10


def extend(state, key):
    """Twenty rows with random rewards from 100 on, which no row of the data has."""
    rows = row_columns(some_transitions(ADDED), SCALER)
    return {**rows, "rewards": 100.0 + state + jax.random.uniform(key, (ADDED,))}


def update(state, batch, key):
    added = batch["rewards"] >= 100.0
    total = jnp.sum(batch["rewards"]) + jnp.sum(batch["observations"])
    return state + 1e-3 * total, {"share": jnp.mean(added), "total": total}


SCALER = identity_scaler(Spec(3, 2))
STAGE = Stage("adding", 60, BATCH, update, improves_policy=False, extend=extend, capacity=CAPACITY)
AGENT = Agent(lambda key: jnp.zeros(()), (STAGE,), lambda state, observations, key: observations)
SCHEDULE = Schedule((STAGE,), TrainConfig("bc-flow", "t", BCConfig(), chunk=CHUNK))


def trained(seeds: list[int], state: RunState, start: int, end: int, host: bool = False):
    """The totals of the steps from `start` to `end`, the shares of added rows, and the state then."""
    data = some_transitions(DATA)
    rows = HostRows(data, SCALER) if host else DeviceRows(row_columns(data, SCALER))
    loop = Loop(SCHEDULE, seeds, rows, state, lambda event: None, StopFlag())
    parts = [loop.run_chunk(here, length) for here, length in SCHEDULE.chunks(start) if here.step < end]
    joined = [np.concatenate([part[name] for part in parts], axis=1) for name in ("total", "share")]
    return *joined, loop.state


@pytest.mark.parametrize("seeds", [[0], [0, 1]])
def test_a_run_that_adds_rows_goes_on_from_a_checkpoint_and_on_the_host_with_the_same_bits(seeds, tmp_path):
    fresh = init_state(AGENT, SCALER, seeds)
    whole, _, _ = trained(seeds, fresh, 0, 60)
    on_host, _, _ = trained(seeds, fresh, 0, 60, host=True)
    np.testing.assert_array_equal(on_host, whole)
    first, _, state = trained(seeds, fresh, 0, 20)
    path = checkpoints.save(RunFolder(tmp_path), state, {"step": 20, "run": {}}, keep=1)
    restored, _ = checkpoints.restore(path, fresh, {})
    rest, _, _ = trained(seeds, restored, 20, 60)
    np.testing.assert_array_equal(np.concatenate([first, rest], axis=1), whole)


def test_added_rows_are_drawn_as_often_as_the_data():
    """In each chunk their share is that of the rows that are there: 20 of 80, 40 of 100, 50 of 110."""
    seeds = list(range(20))
    _, share, _ = trained(seeds, init_state(AGENT, SCALER, seeds), 0, 60)
    for chunk in range(6):
        filled = min((chunk + 1) * ADDED, CAPACITY)
        expected = filled / (DATA + filled)
        drawn = share[:, chunk * CHUNK : (chunk + 1) * CHUNK]
        sigma = np.sqrt(expected * (1 - expected) / (drawn.size * BATCH))
        assert abs(drawn.mean() - expected) < 4 * sigma


def test_a_full_buffer_keeps_its_newest_rows():
    buffer = Buffer({"rewards": jnp.zeros(5)}, jnp.int32(0))
    for first in (1.0, 3.0, 5.0):
        buffer = buffer.add({"rewards": jnp.array([first, first + 1])})
    assert (int(buffer.filled), sorted(buffer.columns["rewards"].tolist())) == (5, [2, 3, 4, 5, 6])


def test_an_agent_that_adds_rows_precomputes_no_columns():
    other = Stage("other", 1, 1, update, False, precompute=lambda state, rows, key: {})
    with pytest.raises(ValueError, match="precomputes"):
        init_state(replace(AGENT, stages=(STAGE, other)), SCALER, [0])
