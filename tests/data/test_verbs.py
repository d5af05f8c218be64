"""`tiltflow data …` and `tiltflow tasks`, as a pipe reads them."""

import numpy as np
import pytest

from tiltflow.cli import data, tasks
from tiltflow.data.arrays import write_hdf5, write_npz
from tiltflow.data.locate import data_folder
from tiltflow.errors import UserError
from tiltflow.tasks import list_tasks


@pytest.fixture
def steps(tmp_path):
    rows = np.arange(20)
    columns = {
        "observations": np.zeros((20, 11), np.float32),
        "next_observations": np.zeros((20, 11), np.float32),
        "actions": np.tile([[1.0, 0.0, -0.5, 0.5]], (20, 1)).astype(np.float32)[:, :3],
        "rewards": np.where(rows < 10, 1.0, 3.0).astype(np.float32),
        "terminals": rows == 9,
        "timeouts": rows == 19,
    }
    write_hdf5(tmp_path / "hopper-medium-v2.hdf5", columns)
    return tmp_path / "hopper-medium-v2.hdf5"


def output(capsys, verb, *arguments):
    verb.parse([str(argument) for argument in arguments]).run()
    return capsys.readouterr().out


def lines(text):
    return dict(line.strip().split("  ", 1) for line in text.splitlines() if "  " in line.strip())


def test_info_of_a_file(capsys, steps):
    text = output(capsys, data, "info", steps)
    assert text.startswith(str(steps))
    described = {key: value.strip() for key, value in lines(text).items()}
    assert described["transitions"] == "20"
    assert described["episodes"] == "2, 10 steps"
    assert described["return of an episode"] == "20.0 ± 10.0 (10.0 to 30.0)"
    assert described["terminations"] == "1"
    assert "33.3 % of entries at ±1" in text
    assert "20×11 float32" in text


def test_info_of_a_task_adds_the_normalised_return(capsys, steps):
    text = output(capsys, data, "info", "d4rl/hopper-medium-v2", "--data", steps.parent)
    # 100·(10 + 20.272305)/3254.572305 and 100·(30 + 20.272305)/3254.572305.
    assert "normalized return     1.2 ± 0.3 (0.9 to 1.5) points" in text
    assert "sha256" in text


def test_info_of_what_is_neither_path_nor_task(tmp_path):
    with pytest.raises(UserError, match=r"There is no file .*nothing\.npz, and no task"):
        data.parse(["info", str(tmp_path / "nothing.npz")]).run()


def test_audit_counts_errors_and_lists_them_all(capsys, tmp_path, steps):
    assert "no errors, 3 warnings" in output(capsys, data, "audit", steps)
    bad = {"observations": np.full((5, 2), np.nan, np.float32), "actions": np.full((5, 1), np.nan)}
    write_npz(tmp_path / "bad.npz", bad | {"rewards": np.zeros(5), "terminals": np.zeros(5, bool)})
    with pytest.raises(UserError, match=r"bad\.npz cannot be used: 2 errors"):
        data.parse(["audit", str(tmp_path / "bad.npz")]).run()
    text = capsys.readouterr().out
    assert text.count("error: ") == text.count("warning: ") == 2
    with pytest.raises(UserError, match=r"2 errors"):
        data.parse(["audit", str(tmp_path)]).run()


def test_collect_says_where_the_file_is_and_info_reads_it(capsys, tmp_path):
    arguments = ("collect", "pointmaze-umaze-v0", "--episodes", 2, "--out", tmp_path, "--seed", 1)
    path = output(capsys, data, *arguments).strip()
    assert path == str(tmp_path / "pointmaze-umaze-v0.npz")
    assert "2, 300 steps" in output(capsys, data, "info", "pointmaze/umaze-v0", "--data", path)


def test_list_names_what_can_be_collected_and_what_is_there(capsys, monkeypatch, steps):
    monkeypatch.setenv("TILTFLOW_DATA", str(steps.parent))
    text = output(capsys, data, "list")
    assert "cube-triple-play-v0             3000 episodes" in text
    assert "hopper-medium-v2.hdf5" in text
    monkeypatch.setenv("TILTFLOW_DATA", str(steps.parent / "none"))
    assert f"{steps.parent}/none holds no data" in output(capsys, data, "list")


def test_the_default_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("TILTFLOW_DATA", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data_folder() == tmp_path / ".cache/tiltflow/data"


def test_tasks_lists_every_task_once(capsys):
    text = output(capsys, tasks)
    heading, *rows = text.splitlines()
    assert heading.split() == ["task", "score", "horizon", "data"]
    ogbench = [task for task in list_tasks() if task.source.name == "ogbench"]
    assert len(rows) == len(list_tasks()) - len(ogbench) * 5 // 6
    assert "ogbench/scene-play-singletask[-task1…5]-v0" in text
    assert "d4rl/hopper-medium-v2" in text
    assert "normalized return, points" in text


def test_tasks_can_be_narrowed(capsys):
    assert len(output(capsys, tasks, "maze2d").splitlines()) == 4
    with pytest.raises(UserError, match="Did you mean 'd4rl/maze2d-umaze-v1'"):
        tasks.parse(["d4rl/maze2d-umase-v1"]).run()
