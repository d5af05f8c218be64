"""The first paper's figures: drawn from nothing by one command, and never trained twice."""

import importlib
import json
import os
from pathlib import Path

import pytest

from tiltflow.data.collect import collect

pytestmark = pytest.mark.usefixtures("quickly_compiled")

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
TASK = "pointmaze/umaze-v0"


def written(out: Path) -> dict[str, tuple[int, int]]:
    """When and how large the files of all runs were written."""
    files = [path for path in (out / TASK.replace("/", "-")).rglob("*") if path.is_file()]
    return {str(path): (os.stat(path).st_mtime_ns, os.stat(path).st_size) for path in files}


def test_a_figure_trains_what_it_needs_draws_it_and_takes_what_is_there(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    figures = importlib.import_module("figures")
    collect("pointmaze-umaze-v0", 1, tmp_path / "data")
    words = ["--tasks", TASK, "--seeds", "1", "--steps", "40", "--network", "8x1", "--out", str(tmp_path)]

    assert figures.main(["--figure", "11", *words]) == 0
    runs = written(tmp_path)
    assert len({path for path in runs if path.endswith("config.json")}) == 2
    assert (tmp_path / "figure-11.png").read_bytes().startswith(b"\x89PNG")
    of_task = json.loads((tmp_path / "figure-11.json").read_text())["tasks"][TASK]
    assert {agent: len(curve["loss"]) for agent, curve in of_task.items()} == {"qipo-ot": 40, "qipo-diff": 40}
    assert figures.CLAIMS[11] in capsys.readouterr().out

    first = (tmp_path / "figure-11.png").read_bytes()
    assert figures.main(["--figure", "11", *words]) == 0
    assert figures.main(["--figure", "10", *words]) == 0  # of the same runs
    assert written(tmp_path) == runs
    assert (tmp_path / "figure-11.png").read_bytes() == first
    assert (tmp_path / "figure-10.png").read_bytes() != first

    capsys.readouterr()
    assert figures.main(["--figure", "10", *words[:-2], "--steps", "41", *words[-2:]]) == 2
    assert "steps: 40 ≠ 41" in " ".join(capsys.readouterr().err.split())
    assert written(tmp_path) == runs
