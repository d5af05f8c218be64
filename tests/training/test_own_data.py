"""A run on logs with their own names and units: trained, played in these units, resumed, read back."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tiltflow.data.locate import data_places
from tiltflow.errors import UserError
from tiltflow.files import write_json
from tiltflow.report.command import train_command
from tiltflow.run_folder import RunFolder
from tiltflow.train_config import to_dict
from tiltflow.training.load_run import load_run
from tiltflow.training.policy import make_act, rollout_policy, seed_keys
from tiltflow.training.progress import ignore_event
from tiltflow.training.run import resume, train

pytestmark = pytest.mark.usefixtures("quickly_compiled")

COLUMNS = "observations=cos+sin+speed,actions=torque"


@pytest.fixture
def logs(tmp_path):
    """Two episodes of a pendulum that is pushed with a torque of 1.5, of the ±2 that it could be."""
    for number in range(2):
        angle = np.linspace(0, 1 + number, 40)
        columns = [np.cos(angle), np.sin(angle), angle, np.full(40, 1.5) + 1e-3 * angle, np.arange(40) % 2]
        lines = [",".join(map(str, row)) for row in zip(*columns, strict=True)]
        (tmp_path / f"log_{number}.csv").write_text("\n".join(["cos,sin,speed,torque,score", *lines]) + "\n")
    return tmp_path


def test_a_policy_of_logs_is_trained_played_and_read_in_their_units(small_config, logs, tmp_path):
    data, few = str(logs / "log_*.csv"), {"steps": 40, "evaluations": 1, "episodes": 1}
    config = small_config("bc-flow", data=data, columns=COLUMNS, action_bounds="-2 2", **few)
    run = train(config, tmp_path / "run", in_this_process=True)
    loaded = load_run(run, ignore_event)
    interface = loaded.prepared.interface
    assert [signal.name for signal in interface.observations] == ["cos", "sin", "speed"]
    assert interface.bounds == ((-2.0,), (2.0,))
    (key,) = seed_keys([0], 2)
    policy = rollout_policy(make_act(loaded.prepared.agent), loaded.states[0], key)
    row = np.float32([[1.0, 0.0, 0.0]])
    inside = policy(row, np.uint32([1_000_000]), np.int32([0]))
    np.testing.assert_allclose(interface.own_units(inside), 2 * inside, rtol=1e-6)
    assert loaded.prepared.make_environment().action_size == 1
    data = RunFolder(run).read_environment()["data"]
    assert (data["transitions"], data["observation_size"]) == (78, 3)
    assert f"--columns {COLUMNS}" in train_command(to_dict(config))
    with pytest.raises(UserError, match=r"is not what .* was trained on"):
        resume(run, config=replace(config, action_bounds="-3 3"), in_this_process=True)


def test_a_run_whose_data_are_not_found_says_how_to_name_them(small_config, tmp_path, monkeypatch):
    (tmp_path / "run").mkdir()
    run = RunFolder(tmp_path / "run")
    before = small_config("bc-flow", data="nowhere/logs", columns=COLUMNS)
    write_json(run.config_file, to_dict(before))  # as earlier versions did
    monkeypatch.chdir(tmp_path)
    text = rf"'nowhere/logs': nothing is there, seen from {tmp_path}. .*--resume {run.path} --data PATH"
    with pytest.raises(UserError, match=text):
        resume(run.path)
    np.savez(run.path / "logs", obs=np.zeros((9, 1)))  # data of the run's own lie in its folder
    run.write_config(small_config("bc-flow", data="nowhere/logs.npz", columns=COLUMNS))
    with pytest.raises(UserError, match=rf"{run.path}/logs.npz, key .* It holds obs \(9×1"):
        resume(run.path)


def test_the_data_of_a_run_are_found_again_whatever_their_names(small_config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a,b").mkdir()
    for name in ("a,b/0.npz", "a,b/1.npz", "c.npz"):
        Path(name).touch()
    for data in ("a,b/*.npz", "a,b/0.npz", "c.npz,c.npz"):
        RunFolder(tmp_path).write_config(small_config("bc-flow", data=data))
        named = RunFolder(tmp_path).read_config().data
        assert data_places(Path(named)) == [place.absolute() for place in data_places(Path(data))]
        assert Path(named).is_absolute()


def test_learning_from_rewards_says_what_it_needs(small_config, logs, tmp_path):
    config = small_config("qipo-ot", data=str(logs), columns=COLUMNS)
    with pytest.raises(UserError, match=r"qipo-ot learns from rewards, .* has none.*--reward.*bc-flow"):
        train(config, tmp_path / "run")
    rewarded = replace(config, columns=None, reward="score>0")
    with pytest.raises(UserError, match=r"'observations': is missing. It holds cos \(number\)"):
        train(rewarded, tmp_path / "run")
    assert not (tmp_path / "run").exists()
