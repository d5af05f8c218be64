"""Runs that differ in numbers alone, as one program: each is the run that it would be alone."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from tests.training.test_resume import final_bodies, logged

from tiltflow.run_folder import RunFolder
from tiltflow.settings import override
from tiltflow.training.load_run import load_run
from tiltflow.training.side_by_side import Lane, train_lanes

RATES = {"slow": 1e-4, "fast": 1e-2}


def lanes_of(config, folder, rates=RATES):
    agents = {name: override(config.agent, {"flow.learning_rate": rate}) for name, rate in rates.items()}
    return [
        Lane(replace(config, agent=agent), folder / name, lambda event: None)
        for name, agent in agents.items()
    ]


@pytest.fixture(scope="module")
def config(small_config):
    return small_config("bc-flow", steps=80, episodes=1)


@pytest.fixture(scope="module")
def trained(config, tmp_path_factory):
    lanes = lanes_of(config, tmp_path_factory.mktemp("together"))
    train_lanes(lanes)
    return lanes


def losses(folder):
    """The mean of each chunk."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return np.concatenate([line["metrics"]["loss"] for line in lines])


def test_each_is_a_finished_run_of_its_own_settings(trained):
    for lane in trained:
        assert lane.diverged is None
        assert RunFolder(lane.folder).read_config().agent == lane.config.agent
        assert len(load_run(lane.folder, lane.observe).states) == 1
        names = ("result.json", "actions.npz", "time.json", "seeds/0/checkpoints")
        assert all((lane.folder / name).exists() for name in names)
    slow, fast = (losses(lane.folder) for lane in trained)
    assert fast[-1] < slow[-1] - 0.02


def test_stopped_it_goes_on_together_to_the_same_bits_and_alone_to_nearly_the_same(trained, config, tmp_path):
    lanes = lanes_of(config, tmp_path)
    train_lanes(lanes, until=1)
    assert not any(RunFolder(lane.folder).finished for lane in lanes)
    assert all(len(RunFolder(lane.folder).evaluations(1)) == 1 for lane in lanes)
    alone = Lane(lanes[0].config, shutil.copytree(tmp_path / "slow", tmp_path / "alone"), lanes[0].observe)
    train_lanes(lanes, until=2)
    for lane, whole in zip(lanes, trained, strict=True):
        assert final_bodies(lane.folder) == final_bodies(whole.folder)
        assert logged(lane.folder) == logged(whole.folder)
    train_lanes([alone], until=2)
    np.testing.assert_allclose(losses(alone.folder), losses(trained[0].folder), rtol=1e-4)


def test_one_that_diverges_stops_no_other(trained, config, tmp_path):
    lanes = lanes_of(config, tmp_path, {"slow": RATES["slow"], "wild": 1e30})
    train_lanes(lanes, until=1)
    assert lanes[0].diverged is None
    assert "loss became nan at step" in str(lanes[1].diverged)
    found = losses(lanes[0].folder)
    np.testing.assert_array_equal(found, losses(trained[0].folder)[: len(found)])
