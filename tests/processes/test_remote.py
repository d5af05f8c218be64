"""Jobs on a cluster: begun again where they are lost, stopped with a checkpoint, told of as at home.

Ray and submitit are not among the packages of the tests: where they are installed, a cluster of one node, and
submitit's own stand-in for Slurm, do the same jobs.
"""

import os
import signal
import threading
from collections import deque
from contextlib import closing
from itertools import pairwise

import pytest

from tiltflow.errors import UserError
from tiltflow.processes.errand import do_errand
from tiltflow.processes.executors import Wanted
from tiltflow.processes.locks import PATIENCE
from tiltflow.processes.remote import Cluster, RemoteExecutor
from tiltflow.processes.stopping import StopFlag


class Threads(Cluster):
    """A cluster whose machines are threads of this process."""

    def __init__(self):
        self.told, self.over, self.flags, self.kept = deque(), deque(), [], 0

    def width(self):
        return 2

    def begin(self, errands):
        for errand in errands:
            self.flags.append(StopFlag())
            threading.Thread(target=self._do, args=(errand, self.flags[-1]), daemon=True).start()

    def _do(self, errand, stop):
        do_errand(errand, lambda event: self.told.append((errand.index, errand.attempt, event)), stop)
        self.over.append((errand, "it ended."))

    def ended(self):
        return [self.over.popleft() for _ in range(len(self.over))]

    def events(self):
        return [self.told.popleft() for _ in range(len(self.told))]

    def stop(self):
        for flag in self.flags:
            flag.ask()

    kill = stop


@pytest.fixture(autouse=True)
def _variables_restored(monkeypatch):
    """What an errand sets in the process that does it, here this one."""
    monkeypatch.setenv(PATIENCE, "0")


@pytest.fixture(params=["threads", "ray", "slurm"])
def executor(request, monkeypatch, tmp_path):
    if request.param == "threads":
        monkeypatch.setattr(os, "chdir", lambda folder: None)
        yield RemoteExecutor(Threads())
        return
    if request.param == "slurm":
        pytest.importorskip("submitit")
        yield Wanted("slurm", slurm={"cluster": "local"}).open(tmp_path)
        return
    ray = pytest.importorskip("ray")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    yield Wanted("ray").open(tmp_path)
    ray.shutdown()


def run_on(executor, *jobs, on=lambda index, event, stop: None):
    told = [[] for _ in jobs]
    stop = StopFlag()
    with closing(executor.submit(jobs, stop)) as happenings:
        for happening in filter(None, happenings):
            told[happening[0]].append(happening[1])
            on(*happening, stop)
    return told


def kinds(events):
    return [event["event"] for event in events]


def test_jobs_are_done_and_what_fails_stops_no_other(executor, job):
    told, refused, broken = run_on(executor, job("add", a=1, b=2), job("refuse"), job("break_down"))
    assert kinds(told) == ["launched", "adding", "exited"]
    assert told[-1] == {"event": "exited", "code": 0, "failed": None, "result": 3}
    assert refused[-1]["failed"] == {"kind": "UserError", "text": "the file x has no key y"}
    assert "ZeroDivisionError" in broken[-1]["failed"]["text"]


def kill(event):
    if event["event"] == "ready":
        os.kill(event["process"], signal.SIGKILL)


def test_a_process_that_is_killed_is_lost_and_begun_again(executor, job):
    launches = []

    def on(index, event, stop):
        launches.extend([True] * (event["event"] == "launched"))
        if len(launches) < 2:
            kill(event)
        elif event["event"] == "ready":
            stop.ask()

    (told,) = run_on(executor, job("wait"), on=on)
    assert kinds(told) == ["launched", "ready", "lost", "launched", "ready", "exited"]
    assert "exit code -9" in told[2]["text"]
    assert told[-1]["failed"] == {"kind": "Interrupted", "text": "kept step 7"}


def test_a_job_that_is_lost_again_and_again_has_failed(executor, job):
    told, other = run_on(executor, job("wait"), job("add", a=1, b=2), on=lambda i, event, stop: kill(event))
    assert kinds(told) == ["launched", "ready", "lost"] * 2 + ["launched", "ready", "exited"]
    assert told[-1]["failed"]["kind"] == "ProcessFailed"
    assert other[-1]["result"] == 3


def test_who_is_asked_to_stop_ends_after_a_checkpoint(executor, job):
    (told,) = run_on(
        executor, job("wait"), on=lambda i, event, stop: event["event"] == "ready" and stop.ask()
    )
    assert kinds(told) == ["launched", "ready", "exited"]
    assert told[-1]["failed"] == {"kind": "Interrupted", "text": "kept step 7"}


def test_a_machine_that_does_not_see_the_folder_says_so(job, monkeypatch, tmp_path):
    cluster = Threads()
    monkeypatch.setattr(os, "chdir", lambda folder: None)
    monkeypatch.setattr(cluster, "begin", lambda errands: [cluster_begin(errand) for errand in errands])

    def cluster_begin(errand):
        errand.job.log.parent.rmdir()
        Threads.begin(cluster, [errand])

    (told,) = run_on(RemoteExecutor(cluster), job("add", log="there/log", a=1, b=1))
    assert kinds(told) == ["launched", "exited"]
    assert f"has no folder {tmp_path / 'there'}" in told[-1]["failed"]["text"]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"name": "rey"}, "Did you mean 'ray'"),
        ({"name": "slurm://x"}, "no executor 'slurm://x'"),
        ({"gpus": 0.5}, "for --executor ray alone"),
        ({"at_most": 0}, "processes = 0"),
    ],
)
def test_executors_that_there_are_not_are_refused(given, text):
    with pytest.raises(UserError, match=text):
        Wanted(**given)


@pytest.mark.parametrize(("gpus", "seen", "at_once"), [(0.5, "0", 2), (1.0, "0", 1), (0.0, "", 2)])
def test_rays_machines_share_a_gpu_as_it_is_declared(job, tmp_path, monkeypatch, gpus, seen, at_once):
    """A machine that says that it has a GPU: Ray counts what it is told."""
    ray = pytest.importorskip("ray")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("RAY_OVERRIDE_RESOURCES", '{"GPU": 1, "CPU": 2}')
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    try:
        executor = Wanted("ray", gpus=gpus).open(tmp_path)
        assert executor.width == at_once
        told = run_on(executor, *(job("see_gpus") for _ in range(3)))
    finally:
        ray.shutdown()
    results = [events[-1]["result"] for events in told]
    assert [result["seen"] for result in results] == [seen] * 3
    if at_once == 1:
        results.sort(key=lambda result: result["began"])
        assert all(one["ended"] <= other["began"] for one, other in pairwise(results))
