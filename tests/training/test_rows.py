"""Rows on the host are drawn and seen as rows on the device are, to the bit."""

import os
from dataclasses import replace

import jax
import numpy as np
import pytest
from tests.training.conftest import TASK
from tests.training.test_resume import final_bodies, logged

from tiltflow.agents.registry import build_agent, preset
from tiltflow.data.moments import observation_moments
from tiltflow.data.shard import shard
from tiltflow.data.transitions import ChosenRows, Transitions
from tiltflow.run_folder import RunFolder
from tiltflow.tasks import find_task
from tiltflow.train_config import EstimateConfig
from tiltflow.training import gather
from tiltflow.training.devices import on_host
from tiltflow.training.gather import draw_numbers
from tiltflow.training.policy import data_scaler, identity_scaler, seed_keys
from tiltflow.training.prepare import prepare, prepare_from_shared
from tiltflow.training.rows import DeviceRows, HostRows, row_columns
from tiltflow.training.run import train
from tiltflow.training.shared_data import data_shared
from tiltflow.training.used_columns import used_columns


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


def test_rows_are_in_the_units_of_the_run():
    data = some_transitions()
    mean, std = data.observations.mean(axis=0), data.observations.std(axis=0)
    rows = row_columns(data, data_scaler(data))
    for name, column in (("observations", data.observations), ("next_observations", data.next_observations)):
        np.testing.assert_allclose(rows[name], (column - mean) / std, atol=1e-5)
    np.testing.assert_array_equal(rows["terminations"], data.terminations.astype(np.float32))
    np.testing.assert_array_equal(rows["actions"], data.actions)


@pytest.mark.parametrize("seeds", [[3], [3, 4]])
def test_the_host_gathers_the_rows_that_the_device_would(seeds):
    data = some_transitions()
    scaler = data_scaler(data)
    device, host = DeviceRows(row_columns(data, scaler)), HostRows(data, scaler)
    numbers = np.array([[0, 59, 7], [7, 58, 1]])
    jax.tree.map(np.testing.assert_array_equal, host.take(numbers), device.take(numbers))
    keys = seed_keys(seeds, 0) if len(seeds) > 1 else seed_keys(seeds, 0)[0]
    totals = np.full(len(seeds), len(data))
    for first in (5, 9, 13, 9):  # the second and third are what was gathered ahead
        batches = host.batches(keys, first, 4, 8)
        numbers = np.asarray(draw_numbers(keys.reshape(-1), totals, first, 4, 8)).reshape(*keys.shape, 4, 8)
        jax.tree.map(np.testing.assert_array_equal, batches, device.take(numbers))
    few = host.batches(keys, 9, 4, 8, used={"actions", "followed"})
    assert few.keys() == {"actions", "following_actions", "followed"}
    np.testing.assert_array_equal(few["followed"], batches["followed"])


def test_what_is_held_of_some_rows_comes_with_their_batches_until_other_things_are_held(tmp_path):
    data = some_transitions()
    host, key = HostRows(data, identity_scaler(data.spec), tmp_path), seed_keys([0, 1], 0)
    rows = np.arange(0, 60)

    def blocks(factor):
        for first in (0, 20, 40):
            numbers = rows[first : first + 20]
            yield numbers, {"double": factor * np.stack([numbers, 100 + numbers]).astype(np.float32)}

    for factor in (2, 3):
        assert host.hold(rows, blocks(factor), 1) == {}
        batches, again = host.batches(key, 0, 3, 8), host.batches(key, 3, 3, 8)
        numbers = np.asarray(draw_numbers(key, np.array([60, 60]), 3, 3, 8))
        np.testing.assert_array_equal(again["double"], factor * (numbers + np.array([0, 100])[:, None, None]))
        assert batches["double"].shape == (2, 3, 8)
    host.hold(np.empty(0, int), (), 0)
    assert "double" not in host.batches(key, 6, 3, 8)
    assert not list(tmp_path.iterdir())


def test_many_rows_are_gathered_as_few_are_and_in_as_many_steps_as_fit(monkeypatch):
    data = some_transitions(500)
    monkeypatch.setattr(gather, "_ALONE", 50)
    host, numbers = HostRows(data, data_scaler(data)), np.random.default_rng(0).integers(0, 500, (7, 100))
    device = DeviceRows(row_columns(data, data_scaler(data)))
    jax.tree.map(np.testing.assert_array_equal, host.take(numbers), device.take(numbers))
    monkeypatch.setattr(gather, "AHEAD_BYTES", 7 * 8 * data.nbytes // 500)
    assert [host.steps_at_once(steps, 8) for steps in (6, 12, 13, 1)] == [6, 6, 7, 1]
    assert device.steps_at_once(13, 8) == 13


def test_columns_that_an_update_does_not_read_are_not_gathered():
    data, key = some_transitions(), jax.random.key(0)
    rows = row_columns(data, identity_scaler(data.spec))
    expected = {"bc-flow": {"observations", "actions"}, "iql": set(rows) - {"following_actions", "followed"}}
    for algorithm, used in expected.items():
        agent = build_agent(algorithm, preset(algorithm, "file/x"), data.spec, 10)
        assert used_columns(agent.stages[0], jax.eval_shape(agent.init, key), rows) == used


def test_data_larger_than_a_quarter_of_the_memory_stay_on_the_host(small_config):
    rows = some_transitions()
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    large = replace(rows, rewards=np.broadcast_to(np.float32(0), memory // 8))  # it takes no memory
    config = small_config("bc-flow")
    assert (config.data_on, on_host(config, rows), on_host(config, large)) == ("auto", False, True)
    assert not on_host(replace(config, data_on="device"), large)
    assert on_host(replace(config, data_on="host"), rows)


def test_held_out_and_mapped_data_give_the_bits_of_data_in_memory(
    small_config, trained, pendulum, tmp_path, monkeypatch
):
    config = small_config("bc-flow", env=None, estimate=EstimateConfig(features=40), steps=60)
    shard(find_task(config.task), pendulum, tmp_path / "data")
    monkeypatch.setattr(gather, "AHEAD_BYTES", 20_000)
    streamed = replace(config, data=str(tmp_path / "data"), data_on="host")
    run = train(streamed, tmp_path / "run", in_this_process=True)
    assert final_bodies(run) == final_bodies(trained(config))
    assert logged(run) == logged(trained(config))


def test_processes_get_the_names_of_mapped_files_not_copies(small_config, pendulum, tmp_path):
    shard(find_task(TASK), pendulum, tmp_path / "data")
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    run.write_config(small_config("bc-flow", env=None, data=str(tmp_path / "data")))
    _, dataset = prepare(run.read_config())
    with data_shared(run, dataset):
        assert (run.shared_data / "observations.npy").resolve() == tmp_path / "data/observations.npy"
        _, theirs = prepare_from_shared(run)
        for own, other in ((dataset.train, theirs.train), (dataset.held_out.rows, theirs.held_out.rows)):
            assert isinstance(other.observations, ChosenRows)
            for name, column in own.columns().items():
                np.testing.assert_array_equal(column, getattr(other, name))
        np.testing.assert_array_equal(theirs.moments, observation_moments(dataset.train.observations))
    assert (tmp_path / "data/observations.npy").exists()


@pytest.mark.slow
def test_data_on_the_host_give_the_bits_of_data_on_the_device(small_config, trained, tmp_path):
    """Of stages that read some columns, all, and those that they derive."""
    config = small_config("qipo-ot")
    run = train(replace(config, data_on="host"), tmp_path / "run", in_this_process=True)
    assert final_bodies(run) == final_bodies(trained(config))
    assert logged(run) == logged(trained(config))
