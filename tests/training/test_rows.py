"""Rows on the host are drawn and seen as rows on the device are, to the bit."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from tests.training.test_resume import final_bodies, logged

from tiltflow.agents.registry import preset
from tiltflow.data.transitions import Transitions
from tiltflow.training.policy import data_scaler, seed_keys
from tiltflow.training.rows import DeviceRows, HostRows, row_columns
from tiltflow.training.run import train


def some_transitions(rows: int = 60) -> Transitions:
    draw = np.random.default_rng(0)
    observations = draw.normal(size=(rows + 1, 3)).astype(np.float32)
    return Transitions(
        observations=observations[:-1],
        actions=draw.uniform(-1, 1, (rows, 2)).astype(np.float32),
        rewards=draw.normal(size=rows).astype(np.float32),
        next_observations=observations[1:],
        terminations=draw.random(rows) < 0.1,
        ends=draw.random(rows) < 0.2,
    )


@pytest.mark.parametrize("seeds", [[3], [3, 4]])
def test_the_host_gathers_the_rows_that_the_device_would(seeds):
    data = some_transitions()
    scaler = data_scaler(data)
    device, host = DeviceRows(row_columns(data, scaler)), HostRows(data, scaler)
    numbers = np.array([[0, 59, 7], [7, 58, 1]])
    jax.tree.map(np.testing.assert_array_equal, host.take(numbers), device.take(numbers))
    keys = seed_keys(seeds, 0) if len(seeds) > 1 else seed_keys(seeds, 0)[0]
    batches = host.batches(keys, 5, 4, 8)
    assert batches["observations"].shape == (*keys.shape, 4, 8, 3)
    assert batches.keys() == device.resident.keys()


@pytest.mark.parametrize("algorithm", [pytest.param("qipo-ot", marks=pytest.mark.slow), "iql"])
def test_data_on_the_host_give_the_bits_of_data_on_the_device(small_config, trained, tmp_path, algorithm):
    config = small_config("qipo-ot")
    if algorithm == "iql":
        agent, sizes = preset("iql", config.task), {"network": config.agent.flow.network, "batch_size": 32}
        agent = replace(agent, actor=replace(agent.actor, **sizes), critic=replace(agent.critic, **sizes))
        config = replace(config, algorithm="iql", agent=agent)
    run = train(replace(config, data_on="host"), tmp_path / "run", in_this_process=True)
    assert final_bodies(run) == final_bodies(trained(config))
    assert logged(run) == logged(trained(config))
