"""A worker never outlives the process that started it."""

import os
import signal
import subprocess
import sys

from tiltflow.training.worker import PARENT


def test_a_worker_whose_parent_died_before_it_could_ask_ends_at_once(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    command = [sys.executable, "-m", "tiltflow.training.worker", str(tmp_path), "0"]
    orphan = subprocess.run(command, env={**os.environ, PARENT: str(gone.pid)}, capture_output=True)
    assert orphan.returncode == -signal.SIGKILL
    assert orphan.stdout == b""

    kept = subprocess.run(command, env={**os.environ, PARENT: str(os.getpid())}, capture_output=True)
    assert kept.returncode == 2  # it lives, and finds no run there
