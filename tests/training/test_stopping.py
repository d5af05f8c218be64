"""Every request to stop, to every process: a checkpoint, exit code 130, and the same bits after resuming.

Each signal with each process, moment and number of seeds is tried by `python benchmarks/stopping.py`; here
are those that differ in kind.
"""

import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from test_resume import final_bodies, logged

from tiltflow.errors import UserError
from tiltflow.files import append_line, write_json
from tiltflow.training.config import to_dict
from tiltflow.training.pool import Job, run_jobs
from tiltflow.training.run import resume
from tiltflow.training.stopping import StopFlag, listening, locked, stop_on_signals, stopping_at_once

STOP = Path(__file__).parents[2] / "benchmarks" / "stopping.py"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "to", "at", "seeds"),
    [("SIGTERM", "all", "chunk", 2), ("SIGHUP", "parent", "evaluating", 1), ("SIGINT", "child", "chunk", 1)],
)
def test_a_training_that_is_asked_to_stop_loses_nothing(small_config, trained, tmp_path, name, to, at, seeds):
    config = small_config("bc-flow", seeds=seeds, parallel="process")
    write_json(tmp_path / "config.json", to_dict(config))
    words = ["one", str(tmp_path / "config.json"), str(tmp_path / "run"), name, to, at]
    done = subprocess.run([sys.executable, str(STOP), *words], capture_output=True, text=True)
    assert done.returncode == 130, done.stderr
    assert not (tmp_path / "run/result.json").exists()
    assert list((tmp_path / "run").glob("seeds/*/checkpoints/step-*.ckpt"))
    run = resume(tmp_path / "run", in_this_process=True)
    whole = trained(config)
    assert final_bodies(run) == final_bodies(whole)
    assert logged(run) == logged(whole)


def test_one_request_may_come_often_and_a_second_ctrl_c_interrupts():
    with stop_on_signals() as stop:
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGTERM, signal.SIGINT):
            signal.raise_signal(number)
            assert stop.stopped
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_what_is_stopped_at_once_is_left_to_clean_up():
    cleaned = []

    def work():
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGHUP)
            cleaned.append(True)

    with pytest.raises(KeyboardInterrupt), stopping_at_once():
        work()
    assert cleaned


def test_a_hang_up_that_nohup_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    stop = StopFlag()
    try:
        with listening(stop.stop):
            signal.raise_signal(signal.SIGHUP)
        assert not stop.stopped
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_lock_does_not_outlive_a_training_that_came_to_nothing(tmp_path):
    with pytest.raises(RuntimeError), locked(tmp_path / "run"):
        raise RuntimeError
    assert not (tmp_path / "run").exists()
    with locked(tmp_path / "run"):
        (tmp_path / "run/config.json").write_text("{}")
    assert (tmp_path / "run/config.json").exists()


FULL = """
import resource, signal, sys
from pathlib import Path
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
from tiltflow.cli.main import main
from tiltflow.run_folder import RunFolder
what, folder = sys.argv[1], Path(sys.argv[2])
words = sys.argv[3:]
if what == "log":
    from tiltflow.errors import UserError
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, 20))
    try:
        RunFolder(folder).log_metrics({"step": 1, "text": 100 * "x"})
    except UserError as error:
        sys.exit(str(error))
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
sys.exit(main(words))
"""


def test_a_full_disk_names_the_file_and_the_same_command_works_later(tmp_path, small_training_words):
    run = tmp_path / "run"
    words = [*small_training_words, "--out", str(run)]
    command = [sys.executable, "-c", FULL]
    full = subprocess.run([*command, "start", str(run), *words], capture_output=True, text=True)
    assert full.returncode == 2
    assert str(run / "config.json") in full.stderr
    assert not run.exists()
    line = subprocess.run([*command, "log", str(tmp_path)], capture_output=True, text=True)
    assert f"Cannot write {tmp_path / 'metrics.jsonl'}" in line.stderr


@pytest.fixture
def small_training_words(pendulum):
    """A training that stops at the first file that it writes."""
    return ["train", "bc-flow", "--task", "file/pendulum", "--env", "Pendulum-v1", "--data", str(pendulum)]


def test_a_log_that_is_a_link_is_not_written_to(small_config, tmp_path):
    (tmp_path / "victim").write_text("as it was")
    os.symlink(tmp_path / "victim", tmp_path / "log")
    with pytest.raises(UserError, match="is a link to another file"):
        append_line(tmp_path / "log", "x")
    with pytest.raises(UserError, match="is a link to another file"):
        next(run_jobs([Job(["json.tool"], tmp_path / "log")], StopFlag()))
    assert (tmp_path / "victim").read_text() == "as it was"


SHADOW = "from pathlib import Path; Path(__file__).with_name('ran').touch(); raise SystemExit(3)"


def test_nothing_is_imported_from_the_current_folder(tmp_path, monkeypatch):
    """A stranger's run folder, say, in which `tiltflow train --resume .` is called."""
    for name in ("jaxtyping", "tyro", "numpy", "json"):
        (tmp_path / f"{name}.py").write_text(SHADOW)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep)  # its empty entries mean the current folder
    job = Job(["tiltflow.training.worker", str(tmp_path), "0"], tmp_path / "log")
    with closing(run_jobs([job], StopFlag())) as happenings:
        told = [happening[1] for happening in happenings if happening]
    assert told[-1] == {"event": "exited", "code": 2}  # it runs, and finds no run there
    monkeypatch.delenv("PYTHONPATH")
    done = subprocess.run(
        [sys.executable, "-m", "tiltflow", "tasks", "pointmaze"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "ran").exists()
