"""What became of a run, and the estimate of the time left."""

import pytest

from tiltflow.benchmark.board import Board
from tiltflow.benchmark.plan import Run
from tiltflow.benchmark.records import Record

RUNS = [Run(task, agent, 0) for task in ("a", "b") for agent in ("slow", "fast")]
RESULT = {"steps": 100, "mean": 50.0, "metric": "success", "unit": "%"}


def board(processes=1, **records):
    return Board({run: records.get(f"{run.agent}_{run.task}", Record()) for run in RUNS}, 100, processes)


def play(board, run, *events, start=0.0, seconds=10.0, stopping=False):
    board.advance(run, {"event": "launched"}, start, stopping)
    for event in events:
        board.advance(run, event, start, stopping)
    board.advance(run, {"event": "exited", "code": -9}, start + seconds, stopping)
    return board.records[run]


def failed(kind, text="why\n  it failed"):
    return {"event": "failed", "kind": kind, "text": text}


def test_nothing_is_known_before_anything_has_run():
    assert board().seconds_left(0.0) is None


def test_the_estimate_is_what_runs_of_the_same_agent_took():
    here = board(fast_a=Record("finished", 100, 10.0), slow_a=Record("finished", 100, 100.0))
    assert here.seconds_left(0.0) == pytest.approx(110.0)
    here.processes = 2
    assert here.seconds_left(0.0) == pytest.approx(100.0)  # never less than the longest run alone


def test_a_run_on_the_same_task_says_more_than_one_on_another():
    twice = {Run("b", "slow", seed): Record() for seed in range(2)}
    done = {
        Run("a", "slow", 9): Record("finished", 100, 1.0),
        Run("b", "slow", 9): Record("finished", 100, 7.0),
    }
    assert Board({**done, **twice}, 100, 1).seconds_left(0.0) == pytest.approx(14.0)


def test_what_has_a_checkpoint_takes_the_rest_of_the_time():
    done = Record("finished", 100, 10.0)
    here = board(fast_a=done, slow_a=done, slow_b=done, fast_b=Record("interrupted", 75, 3.0))
    assert here.seconds_left(0.0) == pytest.approx(2.5)


def test_seconds_of_all_attempts_add_up_and_a_retried_failure_is_forgotten():
    here = board(fast_a=Record("failed", 20, 5.0, "once"))
    record = play(here, RUNS[1], {"event": "done", "result": RESULT})
    assert record == Record("finished", 100, 15.0, None, 50.0, "success", "%")


@pytest.mark.parametrize("kind", ["UserError", "TrainingDiverged"])
def test_what_a_user_can_read_is_the_reason_as_one_paragraph(kind):
    record = play(board(), RUNS[0], failed(kind))
    assert (record.state, record.reason) == ("failed", "why it failed")


def test_other_errors_are_named_and_a_lost_process_gives_its_exit_code():
    assert play(board(), RUNS[0], failed("ValueError")).reason == "ValueError: why it failed"
    assert "exit code -9" in play(board(), RUNS[0]).reason


def test_what_is_stopped_with_the_rest_has_not_failed_but_an_error_has():
    assert play(board(), RUNS[0], failed("Interrupted"), stopping=True).state == "waiting"
    assert play(board(), RUNS[0], stopping=True).state == "waiting"
    assert play(board(fast_a=Record(step=7)), RUNS[1], stopping=True).state == "interrupted"
    assert play(board(), RUNS[0], failed("ValueError"), stopping=True).state == "failed"
    assert play(board(), RUNS[0], failed("Interrupted")).state == "failed"


def test_a_failure_is_tried_once_in_each_command():
    here = board(fast_a=Record("failed"))
    assert set(here.waiting) == set(RUNS)
    play(here, RUNS[1], failed("ValueError"))
    assert set(here.waiting) == set(RUNS) - {RUNS[1]}


def test_runs_that_are_killed_at_work_are_not_left_as_running():
    here = board()
    for run in RUNS[:2]:
        here.advance(run, {"event": "launched"}, 0.0, stopping=False)
    here.records[RUNS[0]] = Record("running", step=40)
    here.leave(5.0)
    assert here.records[RUNS[0]] == Record("interrupted", step=40, seconds=5.0)
    assert here.records[RUNS[1]] == Record("waiting", seconds=5.0)
    assert here.of("running") == []
