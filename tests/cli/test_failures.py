"""Failures as a paragraph and an exit code."""

import io
import os
import subprocess
import sys

import pytest

from tiltflow.cli import main as cli
from tiltflow.cli.failures import exit_code, paragraph
from tiltflow.errors import Interrupted, TrainingDiverged, UserError


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (UserError("The file x is bad."), 2, "error: The file x is bad."),
        (TrainingDiverged("loss became nan."), 1, "error: loss became nan."),
        (Interrupted("stopped."), 130, "error: stopped."),
        (KeyboardInterrupt(), 130, "error: interrupted."),
        (PermissionError(13, "Permission denied", "a/b"), 2, "error: a/b: Permission denied"),
        (ZeroDivisionError("by zero"), 1, "error: ZeroDivisionError: by zero This is a defect of tiltflow"),
        (ModuleNotFoundError("No module named 'own'", name="own"), 1, "error: ModuleNotFoundError"),
    ],
)
def test_every_failure_has_a_paragraph_and_a_code(error, code, text):
    assert exit_code(error) == code
    assert " ".join(paragraph(error).split()).startswith(text)


@pytest.mark.parametrize(
    ("module", "extra"),
    [("ogbench", "ogbench"), ("h5py._hl", "d4rl"), ("jinja2", "plots"), ("mujoco", "envs")],
)
def test_a_missing_package_names_its_extra(module, extra):
    error = ModuleNotFoundError(f"No module named {module!r}", name=module)
    assert exit_code(error) == 2
    text = " ".join(paragraph(error).split())
    assert f"needs the package {module.partition('.')[0]}" in text
    assert f"pip install -c constraints.txt '.[{extra}]'" in text


def test_a_paragraph_is_wrapped_to_the_terminal_and_keeps_paths_whole(monkeypatch):
    monkeypatch.setenv("COLUMNS", "50")
    path = "/a/rather-long/path-with-hyphens/to/a/file.npz"
    lines = paragraph(UserError(f"The file {path} holds no actions, and so\nnothing can be learned.")).split(
        "\n"
    )
    assert all(len(line) <= 50 for line in lines)
    assert any(path in line for line in lines)
    assert paragraph(UserError(f"{path}/{path} is bad.")).startswith(f"error: {path}")


@pytest.mark.parametrize("place", [0, 1, 2])
def test_debug_adds_the_traceback_wherever_it_stands(capsys, tmp_path, place):
    arguments = ["evaluate", str(tmp_path)]
    assert cli.main(arguments) == 2
    assert "Traceback" not in capsys.readouterr().err
    arguments.insert(place, "--debug")
    assert cli.main(arguments) == 2
    assert "Traceback" in capsys.readouterr().err


def test_a_reader_that_goes_away_is_no_error():
    command = f"{sys.executable} -m tiltflow tasks | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("task")
    assert done.stderr == ""


def test_a_terminal_that_does_not_know_all_letters_is_shown_the_others(monkeypatch):
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding="ascii"))
    assert cli.main(["tasks", "ogbench/cube-single"]) == 0
    assert b"task1?5" in shown.getvalue()


def test_a_device_that_is_not_there_is_said_before_anything_is_written(tmp_path):
    words = ["train", "bc-flow", "--task", "file/x", "--data", "x.npz", "--out", "run"]
    done = subprocess.run(
        [sys.executable, "-m", "tiltflow", *words], capture_output=True, text=True, cwd=tmp_path, check=False,
        env={**os.environ, "JAX_PLATFORMS": "nowhere"},
    )  # fmt: skip
    assert done.returncode == 2
    assert "JAX finds no device to compute on, as JAX_PLATFORMS=nowhere asks for" in " ".join(
        done.stderr.split()
    )
    assert not list(tmp_path.iterdir())
