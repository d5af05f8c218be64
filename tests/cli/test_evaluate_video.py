"""Pictures of behaviour from the command line: paths through a maze, and films without a display."""

from ctypes.util import find_library

import numpy as np
import pytest

from tiltflow.cli.main import main
from tiltflow.environments import make_environment
from tiltflow.tasks import find_task

pytestmark = pytest.mark.usefixtures("quickly_compiled")

SMALL_RUN = (
    *("--steps", "20", "--chunk", "20", "--evaluations", "1", "--episodes", "1"),
    *("--seeds", "2", "--parallel", "vmap"),  # in this process
    *("--set.flow.network.width", "8", "--set.flow.network.depth", "1"),
)
POLE = "InvertedPendulum-v5"  # falls after a few steps: its films are short


def test_paths_are_the_same_played_while_training_or_later(maze_data, tmp_path):
    played, later = tmp_path / "played", tmp_path / "later"
    words = ["train", "bc-flow", "--task", "pointmaze/umaze-v0", "--data", str(maze_data), *SMALL_RUN]
    assert main([*words, "--out", str(played)]) == 0
    assert main([*words, "--out", str(later), "--no-play"]) == 0
    assert not (later / "episodes.npz").exists()
    assert main(["evaluate", str(later)]) == 0
    assert (later / "episodes.npz").read_bytes() == (played / "episodes.npz").read_bytes()
    assert "paths reach the goal" in (played / "report.html").read_text()


def write_pole_data(path):
    """Uniformly random forces until the pole has fallen ten times."""
    environment, random = make_environment(find_task("file/pole", POLE)), np.random.default_rng(0)
    rows = []
    for episode in range(10):
        observation, over = environment.reset(episode), False
        while not over:
            action = random.uniform(-1, 1, 1).astype(np.float32)
            following, reward, over, *_ = environment.step(action)
            rows.append((observation, action, np.float32(reward), following, over, over))
            observation = following
    environment.close()
    names = ("observations", "actions", "rewards", "next_observations", "terminations", "ends")
    np.savez(path, **{name: np.array(c) for name, c in zip(names, zip(*rows, strict=True), strict=True)})


@pytest.mark.skipif(
    not any(map(find_library, ("EGL", "OSMesa"))), reason="needs EGL or OSMesa (apt-get install libegl1)"
)
def test_films_are_drawn_on_demand_and_change_no_score(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    data, run = tmp_path / "pole.npz", tmp_path / "run"
    write_pole_data(data)
    words = ["train", "bc-flow", "--task", "file/pole", "--env", POLE, "--data", str(data), "--out", str(run)]
    assert main([*words, *SMALL_RUN]) == 0
    assert "data:image" not in (run / "report.html").read_text()
    scored = (run / "result.json").read_bytes()
    capsys.readouterr()
    assert main(["evaluate", str(run), "--episodes", "2", "--video"]) == 0
    files = [f"evaluation-{which}.gif" for which in ("best", "median", "worst")]
    assert capsys.readouterr().out.split()[-5:] == [
        str(run / name) for name in ("evaluation.json", *files, "report.html")
    ]
    assert all((run / name).read_bytes().startswith(b"GIF89a") for name in files)
    assert (run / "report.html").read_text().count("data:image/jpeg") == 5
    assert (run / "result.json").read_bytes() == scored
