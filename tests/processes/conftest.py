"""Jobs of a test: functions of a module that processes find."""

import os
from contextlib import closing
from pathlib import Path

import pytest

import tiltflow
from tiltflow.processes.executor import Job
from tiltflow.processes.local import LocalExecutor
from tiltflow.processes.stopping import StopFlag

SOURCE = str(Path(tiltflow.__file__).parents[1])
WORK = """
import os, signal, stat, time
from pathlib import Path
from tiltflow.errors import Interrupted, UserError
from tiltflow.processes.stopping import StopFlag, listening

def add(send, a, b):
    send({"event": "adding", "process": os.getpid(), "cores": sorted(os.sched_getaffinity(0))})
    print("not an event")
    return a + b

def die_in_a_line(send):
    send({"event": "first"})
    numbers = [int(name) for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")]
    pipes = [n for n in sorted(numbers) if n > 2 and stat.S_ISFIFO(os.fstat(n).st_mode)]
    os.write(pipes[-1], b'{"event": "sec')
    os._exit(7)

def see_gpus(send):
    began = time.monotonic()
    time.sleep(0.5)
    return {"seen": os.environ.get("CUDA_VISIBLE_DEVICES"), "began": began, "ended": time.monotonic()}

def refuse(send):
    raise UserError("the file x has no key y")

def break_down(send):
    return 1 / 0

def wait(send):
    stop = StopFlag()
    with listening(stop.ask):
        send({"event": "ready", "process": os.getpid()})
        while not stop.stopped:
            time.sleep(0.01)
        raise Interrupted("kept step 7")

def wait_deaf(send, there):
    send({"event": "ready"})
    while not Path(there).exists():
        time.sleep(0.01)
"""


@pytest.fixture
def job(tmp_path, monkeypatch):
    """Makes the job of one of the functions above."""
    (tmp_path / "work_of_tests.py").write_text(WORK)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), SOURCE]))

    def make(name: str, *, log: str = "log", cores: int = 1, warm: bool = False, **arguments) -> Job:
        return Job(f"work_of_tests:{name}", arguments, tmp_path / log, cores, warm)

    return make


@pytest.fixture
def run_all():
    """Runs jobs to their end and gives the events of each; `on` gets each event and the flag to stop."""

    def run(*jobs: Job, on=lambda event, stop: None, at_most: int | None = None) -> list[list[dict]]:
        told: list[list[dict]] = [[] for _ in jobs]
        stop, waits = StopFlag(), 0
        with closing(LocalExecutor(at_most).submit(jobs, stop)) as happenings:
            for happening in happenings:
                waits += happening is None
                assert waits < 300, "nobody says that a process has ended"
                if happening is not None:
                    told[happening[0]].append(happening[1])
                    on(happening[1], stop)
        return told

    return run
