"""Jobs in processes: their events are one stream, their errors come back, their cores are their own."""

import os
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from tiltflow.errors import Interrupted, ProcessFailed, TrainingDiverged, UserError
from tiltflow.files import append_line
from tiltflow.processes.executor import error_of
from tiltflow.processes.local import LocalExecutor, available_cores
from tiltflow.processes.stopping import StopFlag


def kinds(events):
    return [event["event"] for event in events]


def test_a_job_is_launched_sends_its_events_and_exits_with_its_result(job, run_all, tmp_path):
    (told,) = run_all(job("add", a=[1], b=[2, 3]))
    assert kinds(told) == ["launched", "adding", "exited"]
    assert told[-1] == {"event": "exited", "code": 0, "failed": None, "result": [1, 2, 3]}
    assert (tmp_path / "log").read_text() == "not an event\n"


def test_a_process_that_dies_in_the_middle_of_a_line_is_told_as_ended(job, run_all, tmp_path):
    told, other = run_all(job("die_in_a_line"), job("add", a=1, b=2))
    assert told[:2] == [{"event": "launched"}, {"event": "first"}]
    assert (told[2]["event"], told[2]["code"], told[2]["result"]) == ("exited", 7, None)
    error = error_of(told[2]["failed"], tmp_path)
    assert isinstance(error, ProcessFailed)
    assert "exit code 7" in str(error)
    assert str(tmp_path / "log") in str(error)
    assert other[-1]["result"] == 3  # it stops no other


def test_what_a_user_can_mend_keeps_its_text_and_a_defect_names_the_log(job, run_all, tmp_path):
    (refused,), (broken,) = (events[-1:] for events in run_all(job("refuse"), job("break_down")))
    assert (refused["code"], broken["code"]) == (UserError.exit_code, 1)
    error = error_of(refused["failed"], tmp_path)
    assert (type(error), str(error)) == (UserError, "the file x has no key y")
    error = error_of(broken["failed"], tmp_path)
    assert isinstance(error, ProcessFailed)
    assert str(error).startswith("ZeroDivisionError: division by zero This is a defect of tiltflow")
    assert str(tmp_path / "log") in str(error)
    assert "Traceback" in (tmp_path / "log").read_text()


@pytest.mark.parametrize("kind", [UserError, TrainingDiverged, ProcessFailed, Interrupted])
def test_every_explained_error_comes_back_as_itself(kind, tmp_path):
    error = error_of({"kind": kind.__name__, "text": "why"}, tmp_path)
    assert (type(error), str(error)) == (kind, "why")


def test_who_is_asked_to_stop_is_interrupted_and_no_other_job_begins(job, run_all, tmp_path):
    told = run_all(
        job("wait"),
        job("add", a=1, b=2),
        on=lambda event, stop: stop.ask() if event["event"] == "ready" else None,
        at_most=1,
    )
    assert kinds(told[0]) == ["launched", "ready", "exited"]
    assert told[0][-1]["failed"] == {"kind": "Interrupted", "text": "kept step 7"}
    assert told[1] == []


def test_a_job_that_the_signal_kills_while_all_are_stopped_has_not_failed(job, run_all, tmp_path):
    (told,) = run_all(
        job("wait_deaf", there=str(tmp_path / "never")),
        on=lambda event, stop: stop.ask() if event["event"] == "ready" else None,
    )
    assert told[-1]["failed"] == {"kind": "Interrupted", "text": "Stopped."}


def test_warm_jobs_of_one_log_share_a_process_and_others_do_not(job, run_all):
    jobs = [job("add", a=i, b=1, warm=True) for i in range(3)]
    jobs += [job("refuse", warm=True), job("add", a=3, b=1, warm=True)]
    jobs += [job("add", a=4, b=1, warm=True, log="other"), job("add", a=5, b=1)]
    told = run_all(*jobs, at_most=1)
    assert all(kinds(events)[0] == "launched" and kinds(events)[-1] == "exited" for events in told)
    assert [events[-1]["result"] for events in told] == [1, 2, 3, None, 4, 5, 6]
    process = [events[1].get("process") for events in told]
    assert process[0] == process[1] == process[2] == process[4]
    assert len(set(process) - {None}) == 3


def test_a_warm_process_that_dies_loses_its_own_job_alone(job, run_all):
    jobs = [job("add", a=0, b=1, warm=True), job("die_in_a_line", warm=True), job("add", a=2, b=1, warm=True)]
    first, lost, last = run_all(*jobs, at_most=1)
    assert (first[-1]["result"], lost[-1]["code"], last[-1]["result"]) == (1, 7, 3)


def test_a_job_has_as_many_cores_as_it_wants_and_there_are(job, run_all):
    all_cores = available_cores()
    one, many = run_all(job("add", a=0, b=0), job("add", a=0, b=0, cores=1000))
    assert len(one[1]["cores"]) == 1
    assert many[1]["cores"] == all_cores


def test_processes_are_killed_where_nobody_listens_any_more(job, tmp_path):
    endless = job("wait_deaf", there=str(tmp_path / "never"))
    with closing(LocalExecutor().submit([endless], StopFlag())) as told:
        assert next(told) == (0, {"event": "launched"})
        children = _children()
    assert children
    assert not set(children) & set(_children())


def _children() -> list[int]:
    pid = os.getpid()
    return [int(n) for n in open(f"/proc/{pid}/task/{pid}/children").read().split()]


def test_a_log_that_is_a_link_is_not_written_to(job, tmp_path):
    (tmp_path / "victim").write_text("as it was")
    os.symlink(tmp_path / "victim", tmp_path / "log")
    with pytest.raises(UserError, match="is a link to another file"):
        append_line(tmp_path / "log", "x")
    with pytest.raises(UserError, match="is a link to another file"):
        next(LocalExecutor().submit([job("add", a=1, b=1)], StopFlag()))
    assert (tmp_path / "victim").read_text() == "as it was"


def test_what_a_job_says_comes_back_though_the_disk_of_its_log_is_full(job, run_all):
    full = replace(job("refuse"), log=Path("/dev/full"))
    (told,) = run_all(full)
    assert told[-1]["failed"] == {"kind": "UserError", "text": "the file x has no key y"}
