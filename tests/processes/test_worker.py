"""A worker never outlives the process that started it, and imports nothing from where it stands."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import tiltflow
from tiltflow.processes.executor import error_of
from tiltflow.processes.worker import PARENT

SHADOW = "from pathlib import Path; Path(__file__).with_name('ran').touch(); raise SystemExit(3)"


def test_a_worker_whose_parent_died_before_it_could_ask_ends_at_once(job):
    task = job("add", a=1, b=2)
    line = json.dumps({"work": task.work, "arguments": task.arguments}) + "\n"
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()

    def start(parent):
        command = [sys.executable, "-m", "tiltflow.processes.worker"]
        variables = {**os.environ, PARENT: str(parent)}
        return subprocess.run(command, env=variables, capture_output=True, input=line, text=True)

    orphan = start(gone.pid)
    assert orphan.returncode == -signal.SIGKILL
    assert orphan.stdout == ""
    kept = start(os.getpid())
    assert kept.returncode == 0
    assert json.loads(kept.stdout.splitlines()[-1]) == {"event": "done", "result": 3}


def test_nothing_is_imported_from_the_current_folder(tmp_path, monkeypatch, job, run_all):
    """A stranger's run folder, say, in which `tiltflow train --resume .` is called."""
    there, source = tmp_path / "there", str(Path(tiltflow.__file__).parents[1])
    there.mkdir()
    for name in ("jaxtyping", "tyro", "numpy", "json", "work_of_tests"):
        (there / f"{name}.py").write_text(SHADOW)
    monkeypatch.chdir(there)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", str(tmp_path), source]))  # "" is here
    (told,) = run_all(job("add", a=1, b=2))
    assert told[-1]["result"] == 3
    monkeypatch.setenv("PYTHONPATH", os.pathsep + source)
    (told,) = run_all(job("add", a=1, b=2))  # now it is found nowhere
    assert "No module named 'work_of_tests'" in str(error_of(told[-1]["failed"], tmp_path))
    monkeypatch.setenv("PYTHONPATH", source)
    done = subprocess.run(
        [sys.executable, "-m", "tiltflow", "tasks", "pointmaze"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert not (there / "ran").exists()
