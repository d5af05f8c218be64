"""What became of a run, and the estimate of the time left."""

from collections import defaultdict
from pathlib import Path

import pytest

from tiltflow.benchmark.board import Board
from tiltflow.benchmark.board_display import ended_line
from tiltflow.benchmark.records import RunRecord
from tiltflow.benchmark_file import PlannedRun

RUNS = [PlannedRun(task, agent, 0) for task in ("a", "b") for agent in ("slow", "fast")]
STARTED = {"algorithm": "slow", "task": "a", "metric": "success", "unit": "%", "out": "", "steps": 100}
STARTED |= {"stages": [{"name": "behaviour", "steps": 100}], "seeds": [0]}
CHUNK = {"stage": "behaviour", "stage_step": 40, "stage_steps": 100, "steps_per_second": 10.0, "metrics": {}}
STEPS = defaultdict[PlannedRun, int](lambda: 100)
RESULT = {"steps": 100, "mean": 50.0, "metric": "success", "unit": "%"}


def board(processes=1, **records):
    return Board({run: records.get(f"{run.agent}_{run.task}", RunRecord()) for run in RUNS}, STEPS, processes)


def play(board, run, *events, start=0.0, seconds=10.0, failed=None, result=None):
    board.advance(run, {"event": "launched"}, start)
    for event in events:
        board.advance(run, event, start)
    board.advance(run, {"event": "exited", "failed": failed, "result": result}, start + seconds)
    return board.records[run]


def why(kind, text="why\n  it failed"):
    return {"kind": kind, "text": text}


def test_nothing_is_known_before_anything_has_run():
    assert board().seconds_left(0.0) is None


def test_the_estimate_is_what_runs_of_the_same_agent_took():
    here = board(fast_a=RunRecord("finished", 100, 10.0), slow_a=RunRecord("finished", 100, 100.0))
    assert here.seconds_left(0.0) == pytest.approx(110.0)
    here.processes = 2
    assert here.seconds_left(0.0) == pytest.approx(100.0)  # never less than the longest run alone


def test_a_run_on_the_same_task_says_more_than_one_on_another():
    twice = {PlannedRun("b", "slow", seed): RunRecord() for seed in range(2)}
    done = {
        PlannedRun("a", "slow", 9): RunRecord("finished", 100, 1.0),
        PlannedRun("b", "slow", 9): RunRecord("finished", 100, 7.0),
    }
    assert Board({**done, **twice}, STEPS, 1).seconds_left(0.0) == pytest.approx(14.0)


def test_what_has_a_checkpoint_takes_the_rest_of_the_time():
    done = RunRecord("finished", 100, 10.0)
    here = board(fast_a=done, slow_a=done, slow_b=done, fast_b=RunRecord("interrupted", 75, 3.0))
    assert here.seconds_left(0.0) == pytest.approx(2.5)


def test_seconds_of_all_attempts_add_up_and_a_retried_failure_is_forgotten():
    here = board(fast_a=RunRecord("failed", 20, 5.0, "once"))
    record = play(here, RUNS[1], result=RESULT)
    assert record == RunRecord("finished", 100, 15.0, None, 50.0, "success", "%")


def test_a_run_without_an_estimate_is_finished_and_has_no_score():
    here = board()
    assert play(here, RUNS[0], result=RESULT | {"undetermined": 0.5}).score is None
    assert ended_line(here, RUNS[0], Path()) == "finished: slow on a, seed 0: success no estimate in 10 s"


@pytest.mark.parametrize("kind", ["UserError", "TrainingDiverged", "ProcessFailed"])
def test_why_a_run_failed_is_the_reason_as_one_paragraph(kind):
    record = play(board(), RUNS[0], failed=why(kind))
    assert (record.state, record.reason) == ("failed", "why it failed")


def test_a_defect_is_named_with_the_log():
    reason = play(board(), RUNS[0], failed=why("ValueError")).reason
    assert reason.startswith("ValueError: why it failed")
    assert str(RUNS[0].folder / "log.txt") in reason


def test_what_is_stopped_has_not_failed():
    assert play(board(), RUNS[0], failed=why("Interrupted")).state == "waiting"
    assert play(board(fast_a=RunRecord(step=7)), RUNS[1], failed=why("Interrupted")).state == "interrupted"


def test_what_is_trained_without_playing_has_no_score():
    record = play(board(), RUNS[0], result=None)
    assert (record.state, record.score) == ("trained", None)


def test_what_is_lost_waits_again_with_its_steps_and_its_seconds():
    here = board()
    here.advance(RUNS[0], {"event": "launched"}, 0.0)
    here.advance(RUNS[0], {"event": "started", **STARTED}, 1.0)
    here.advance(RUNS[0], {"event": "chunk", "seeds": [0], "step": 40, **CHUNK}, 3.0)
    here.advance(RUNS[0], {"event": "lost", "text": "its machine is gone"}, 5.0)
    assert here.records[RUNS[0]] == RunRecord("interrupted", 40, 5.0)
    assert RUNS[0] in here.waiting
    assert play(here, RUNS[0], result=RESULT).seconds == 15.0


def test_a_failure_is_tried_once_in_each_command():
    here = board(fast_a=RunRecord("failed"))
    assert set(here.waiting) == set(RUNS)
    play(here, RUNS[1], failed=why("ValueError"))
    assert set(here.waiting) == set(RUNS) - {RUNS[1]}


def test_runs_that_are_killed_at_work_are_not_left_as_running():
    here = board()
    for run in RUNS[:2]:
        here.advance(run, {"event": "launched"}, 0.0)
    here.records[RUNS[0]] = RunRecord("running", step=40)
    here.leave(5.0)
    assert here.records[RUNS[0]] == RunRecord("interrupted", step=40, seconds=5.0)
    assert here.records[RUNS[1]] == RunRecord("waiting", seconds=5.0)
    assert here.of("running") == []
