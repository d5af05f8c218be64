"""A packed suite, trained where no simulator can be imported and played here."""

import csv
import json
import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.training.test_resume import final_bodies, logged

from tiltflow.cli.main import main

pytestmark = pytest.mark.usefixtures("quickly_compiled")

SCRIPT = Path(__file__).parents[2] / "scripts" / "pack.py"
WORDS = (  # two chunks, and an evaluation after each
    *("toy", "--agents", "bc-flow", "--tasks", "pointmaze/umaze-v0", "--seeds", "1", "--network", "16x2"),
    *("--steps", "1100", "--evaluations", "2", "--episodes", "1"),
)
RUN = Path("pointmaze-umaze-v0") / "bc-flow" / "seed-0"

NO_SIMULATOR = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("gymnasium", "gymnasium_robotics", "mujoco", "dm_control", "ogbench"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
"""


def pack(*words: str) -> int:
    """The exit code of scripts/pack.py."""
    return runpy.run_path(str(SCRIPT))["main"](words)


@pytest.fixture(scope="module")
def trained_there(tmp_path_factory, maze_data) -> Path:
    """The benchmark's folder that the packed suite wrote."""
    place = tmp_path_factory.mktemp("pack")
    assert pack(str(place / "pack"), "--data", str(maze_data), "--", *WORDS) == 0
    (place / "without").mkdir()
    (place / "without" / "sitecustomize.py").write_text(NO_SIMULATOR)
    environment = {**os.environ, "PYTHONPATH": str(place / "without"), "PYTHON": sys.executable}
    environment["OUT"] = str(place / "out")
    there = subprocess.run(
        ["sh", str(place / "pack" / "run.sh")], env=environment, cwd=place, capture_output=True, text=True
    )
    assert there.returncode == 0, there.stdout + there.stderr
    assert "to be played" in there.stdout
    assert not (place / "out" / "bench" / RUN / "result.json").exists()
    environment["PYTHONPATH"] += os.pathsep + str(place / "pack" / "src")
    file = "import tiltflow, importlib.util; print(tiltflow.__file__); import gymnasium"
    imports = subprocess.run(
        [sys.executable, "-P", "-c", file], env=environment, capture_output=True, text=True
    )
    assert str(place / "pack") in imports.stdout
    assert "No module named 'gymnasium'" in imports.stderr
    return place / "out" / "bench"


@pytest.mark.slow
def test_the_same_command_without_no_play_plays_it_as_if_it_had_played(
    trained_there, maze_data, tmp_path, capsys
):
    here = [*WORDS, "--data", str(maze_data), "--out"]
    whole, there = tmp_path / "whole", shutil.copytree(trained_there, tmp_path / "bench")
    assert main(["benchmark", *here, str(there), "--no-play", "--plan"]) == 0
    assert "1 finished, 0 left" in capsys.readouterr().out
    assert main(["benchmark", *here, str(whole)]) == 0
    assert main(["benchmark", *here, str(there)]) == 0
    for folder in (there, whole):
        assert json.loads((folder / "benchmark.json").read_text())["runs"][0]["state"] == "finished"
    assert final_bodies(there / RUN) == final_bodies(whole / RUN)
    assert logged(there / RUN) == logged(whole / RUN)
    tables = [list(csv.DictReader((folder / "summary.csv").open())) for folder in (there, whole)]
    assert tables[0] == tables[1]
    assert (there / "compare" / "compare.html").exists()


def test_one_run_is_played_without_any_data(trained_there, tmp_path, capsys):
    run = shutil.copytree(trained_there / RUN, tmp_path / "run")
    shutil.rmtree(trained_there.parent.parent / "pack" / "data")
    assert main(["evaluate", str(run), "--episodes", "1"]) == 0  # fresh episodes: nothing else is played
    assert not (run / "result.json").exists()
    assert main(["evaluate", str(run)]) == 0
    assert str(run / "result.json") in capsys.readouterr().out
    assert json.loads((run / "result.json").read_text())["episodes"] == 2
    assert main(["compare", str(run), "--out", str(tmp_path / "compare")]) == 0


def test_a_pack_that_is_too_large_is_not_written(maze_data, tmp_path, capsys):
    assert pack(str(tmp_path / "pack"), "--data", str(maze_data), "--max-mib", "0.1", "--", *WORDS) == 2
    assert "more than --max-mib 0.1" in " ".join(capsys.readouterr().err.split())
    assert list(tmp_path.iterdir()) == []
