"""What a user may get wrong: one paragraph that names the cause, exit code 2, and no litter."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from tiltflow.cli.main import main
from tiltflow.data.arrays import write_hdf5, write_npz

pytestmark = pytest.mark.usefixtures("quickly_compiled")

HOPPER = ["--task", "d4rl/hopper-medium-v2"]


@pytest.fixture
def refused(capsys):
    """Runs a command line that has to fail, and returns its paragraph."""

    def run(*arguments) -> str:
        assert main([str(argument) for argument in arguments]) == 2
        captured = capsys.readouterr()
        assert captured.err.startswith("error: ")
        assert captured.err.endswith("\n")
        assert "\n\n" not in captured.err
        assert "Traceback" not in captured.err
        return " ".join(captured.err.split())

    return run


@pytest.fixture
def maze_arrays(maze_data) -> dict[str, np.ndarray]:
    with np.load(maze_data / "pointmaze-umaze-v0.npz", allow_pickle=False) as file:
        return {name: file[name].copy() for name in file.files}


def hopper_columns(rows: int = 40) -> dict[str, np.ndarray]:
    return {
        "observations": np.zeros((rows, 11), np.float32),
        "next_observations": np.zeros((rows, 11), np.float32),
        "actions": np.zeros((rows, 3), np.float32),
        "rewards": np.arange(rows, dtype=np.float32),
        "terminals": np.zeros(rows, bool),
        "timeouts": np.arange(rows) % 20 == 19,
    }


def test_a_truncated_npz(refused, train_words, maze_data, tmp_path):
    whole = (maze_data / "pointmaze-umaze-v0.npz").read_bytes()
    broken = tmp_path / "broken.npz"
    broken.write_bytes(whole[: len(whole) // 2])
    assert str(broken) in refused(*train_words(tmp_path / "run", "--data", str(broken)))
    assert not (tmp_path / "run").exists()


def test_an_hdf5_file_without_actions(refused, tmp_path):
    columns = hopper_columns()
    del columns["actions"]
    file = tmp_path / "hopper.hdf5"
    write_hdf5(file, columns)
    text = refused("train", "bc-flow", *HOPPER, "--data", file, "--out", tmp_path / "run")
    assert str(file) in text
    assert "actions" in text


def test_rewards_that_are_no_numbers(refused, train_words, maze_arrays, tmp_path):
    maze_arrays["rewards"][7] = np.nan
    file = tmp_path / "bad.npz"
    write_npz(file, maze_arrays)
    text = refused(*train_words(tmp_path / "run", "--data", str(file)))
    assert f"{file}, key 'rewards', row 7" in text


def test_actions_out_of_bounds(refused, train_words, maze_arrays, tmp_path):
    maze_arrays["actions"][11, 1] = 1.5
    file = tmp_path / "bad.npz"
    write_npz(file, maze_arrays)
    text = refused(*train_words(tmp_path / "run", "--data", str(file)))
    assert f"{file}, key 'actions', row 11" in text
    assert "1.5" in text


def test_a_wrong_task_name_suggests_the_nearest(refused, train_words, tmp_path):
    text = refused(*train_words(tmp_path / "run", "--task", "pointmaze/umase-v0"))
    assert "Did you mean 'pointmaze/umaze-v0'?" in text


def test_data_that_are_not_there(refused, train_words, tmp_path):
    assert str(tmp_path / "no") in refused(*train_words(tmp_path / "run", "--data", str(tmp_path / "no")))


@pytest.mark.parametrize("place", ["file/run", "file"])
def test_an_output_folder_that_cannot_be_written(refused, train_words, tmp_path, place):
    (tmp_path / "file").write_text("not a folder")
    text = refused(*train_words(tmp_path / place))
    assert str(tmp_path / place) in text
    assert "--out" in text


def test_an_output_folder_that_holds_something_else(refused, train_words, tmp_path):
    (tmp_path / "notes.txt").write_text("keep me")
    assert "is not an empty folder" in refused(*train_words(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("verb", [["train", "--resume"], ["evaluate"], ["report"]])
def test_a_folder_that_is_no_run(refused, tmp_path, verb):
    assert "run folder" in refused(*verb, tmp_path)


def test_a_run_of_another_config_or_version(refused, cloned, tmp_path):
    run = shutil.copytree(cloned, tmp_path / "run")
    config = Path(run / "config.json")
    whole = json.loads(config.read_text())

    def with_config(record) -> str:
        config.write_text(json.dumps(record))
        return refused("train", "--resume", run)

    flow = whole["agent"]["flow"]
    wider = {**whole["agent"], "flow": {**flow, "network": {**flow["network"], "width": 32}}}
    assert "agent.flow.network.width" in with_config({**whole, "agent": wider})
    assert "format" in with_config({**whole, "format": 99})
    assert "stepps" in with_config({**whole, "stepps": 5})
    config.write_text("{")
    assert "config.json" in refused("train", "--resume", run)


def test_evaluation_of_no_episodes(refused, tmp_path):
    assert "--episodes is 0" in refused("evaluate", tmp_path, "--episodes", "0")
