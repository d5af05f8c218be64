"""`tiltflow benchmark` from the command line to its run folders."""

import csv
import io
import json
import os
import re
import shutil
import signal
import threading
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from tests.training.test_resume import final_bodies, logged

from tiltflow.benchmark.suites import SUITES
from tiltflow.cli.main import main
from tiltflow.data.arrays import write_npz

pytestmark = pytest.mark.usefixtures("quickly_compiled")

UMAZE, MEDIUM = "pointmaze-umaze-v0", "pointmaze-medium-v0"
SMALL = ("--agents", "bc-flow", "--seeds", "1", "--evaluations", "1", "--episodes", "1", "--network", "16x2")
RATE = "flow.learning_rate=0.001"

STEPS = 5000
"""Five chunks: a run can be stopped between two."""


@pytest.fixture(scope="module")
def medium_data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("medium")
    assert main(["data", "collect", MEDIUM, "--episodes", "2", "--out", str(folder)]) == 0
    return folder / f"{MEDIUM}.npz"


def words(out, data, *more, steps=STEPS, sizes="200"):
    axes = ("--vary", f"flow.batch-size={sizes}", "--vary", RATE)
    return [
        *("benchmark", "toy", *SMALL, *axes, "--steps", str(steps)),
        *("--data", str(data), "--out", str(out), *more),
    ]


def states(out):
    runs = json.loads((out / "benchmark.json").read_text())["runs"]
    return {entry["folder"]: entry["state"] for entry in runs}


def folder(task, size=200):
    return f"{task}/bc-flow/flow.batch_size={size},{RATE}/seed-0"


@pytest.fixture(scope="module")
def failing(tmp_path_factory, maze_data, medium_data):
    """A benchmark of two tasks, the data of one of which are found to be bad when they are loaded."""
    place = tmp_path_factory.mktemp("failing")
    data, out = place / "data", place / "out"
    shutil.copytree(maze_data, data)
    with np.load(medium_data) as file:
        arrays = {name: file[name].copy() for name in file.files}
    arrays["rewards"][3] = np.nan
    write_npz(data / f"{MEDIUM}.npz", arrays)
    with redirect_stdout(io.StringIO()) as printed, redirect_stderr(io.StringIO()) as told:
        code = main(words(out, data))
    return data, out, (code, printed.getvalue(), told.getvalue())


def test_a_failing_run_stops_no_other_and_is_named_with_its_reason_and_log(failing):
    _, out, (code, _, told) = failing
    assert code == 1
    assert states(out) == {folder(UMAZE): "finished", folder(MEDIUM): "failed"}
    log = out / folder(MEDIUM) / "log.txt"
    assert "Traceback" in log.read_text()
    assert "Traceback" not in told
    listed = told.partition("1 of 2 runs failed:")[2]
    assert "rewards" in listed
    assert str(log) in listed


def test_a_run_is_an_ordinary_run_folder_and_its_score_is_summarised(failing):
    _, out, (_, printed, _) = failing
    result = json.loads((out / folder(UMAZE) / "result.json").read_text())
    row, failed = csv.DictReader((out / "summary.csv").open())
    assert (failed["task"], failed["mean"], failed["failed"]) == ("pointmaze/medium-v0", "", "1")
    assert (row["failed"], row["steps"]) == ("0", str(STEPS))
    checksum = json.loads((out / folder(UMAZE) / "environment.json").read_text())["data"]["checksum"]
    assert row["data_checksum"] == checksum
    assert float(row["mean"]) == result["mean"]
    assert (row["unit"], row["seeds"], row["episodes"]) == ("%", "1", "1")
    assert f"{result['mean']:.1f}" in printed
    assert str(out / "compare" / "compare.html") in printed
    assert main(["evaluate", str(out / folder(UMAZE)), "--episodes", "1"]) == 0


def test_what_is_done_is_kept_and_summarised_and_what_failed_is_tried_again(failing, tmp_path):
    data, before, _ = failing
    out = shutil.copytree(before, tmp_path / "out")
    assert main(words(out, data, "--tasks", "pointmaze/umaze-v0")) == 0
    (out / "summary.csv").unlink()
    assert main(words(out, data, "--tasks", "pointmaze/medium-v0")) == 1
    # The summary is of all that the folder holds, whatever the last command asked for.
    assert (out / "summary.csv").read_bytes() == (before / "summary.csv").read_bytes()
    for name in ("result.json", "log.txt"):
        kept, now = (place / folder(UMAZE) / name for place in (before, out))
        assert kept.read_bytes() == now.read_bytes()
    assert (out / folder(MEDIUM) / "log.txt").read_text().count("Traceback") == 2
    assert states(out) == states(before)


def test_other_settings_are_refused_for_what_has_begun_and_free_for_what_has_not(failing, capsys):
    data, out, _ = failing
    before = (out / "benchmark.json").read_bytes()
    assert main(words(out, data, steps=STEPS + 1)) == 2
    assert f"steps: {STEPS} ≠ {STEPS + 1}" in " ".join(capsys.readouterr().err.split())
    assert (out / "benchmark.json").read_bytes() == before
    assert (
        main(words(out, data, "--seed", "1", steps=STEPS + 1)) == 2
    )  # its seeds would be averaged with these
    assert "seed-0" in " ".join(capsys.readouterr().err.split())
    only = words(out, data, "--tasks", "pointmaze/medium-v0", "--plan", steps=STEPS + 1)
    assert main(only) == 0
    assert "1 failed" in capsys.readouterr().out


def test_the_plan_says_what_is_left_and_does_nothing(failing, tmp_path, capsys):
    data, out, _ = failing
    assert main(words(tmp_path / "new", data, "--plan")) == 0
    assert f"2 runs of {STEPS:,} steps: 0 finished, 2 left" in capsys.readouterr().out
    assert not (tmp_path / "new").exists()
    assert main(words(out, data, "--plan")) == 0
    assert f"2 runs of {STEPS:,} steps: 1 finished, 1 left" in capsys.readouterr().out


@pytest.mark.parametrize("plan", [[], ["--plan"]])
def test_all_missing_data_are_named_before_any_training(tmp_path, capsys, plan):
    (tmp_path / "data").mkdir()
    out = tmp_path / "out"
    words = ["benchmark", "d4rl-locomotion", "--data", str(tmp_path / "data"), "--out", str(out), *plan]
    assert main(words) == 2
    captured = capsys.readouterr()
    error = " ".join(captured.err.split())
    for task in SUITES["d4rl-locomotion"].tasks:
        assert task.removeprefix("d4rl/") in error
        assert (task in captured.out) == bool(plan)
    assert str(tmp_path / "data") in error
    assert not out.exists()


def test_own_data_that_are_not_there_are_named_as_they_were_given(tmp_path, capsys):
    words = ["benchmark", "own", "--data", "nowhere.npz", "--out", str(tmp_path / "out"), "--agents", "iql"]
    assert main([*words, "--no-play", "--plan"]) == 2
    assert "names no environment" in " ".join(capsys.readouterr().err.split())
    assert main([*words, "--plan"]) == 2
    assert "nowhere.npz" in (error := " ".join(capsys.readouterr().err.split()))
    assert "data sets are missing" not in error


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (["--agents", "bc-flwo"], "Did you mean 'bc-flow'"),
        (["--tasks", "d4rl/pen-human-v1"], "not in the suite toy"),
        (["--network", "16"], "WIDTHxDEPTH"),
        (["--processes", "0"], "processes = 0"),
        (["--env", "Hopper-v5", "--reward", "success"], "--env and --reward: for the suite own alone"),
    ],
)
def test_bad_input_is_one_paragraph_before_any_work(maze_data, tmp_path, capsys, more, text):
    assert main(words(tmp_path / "out", maze_data, *more)) == 2
    assert text in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


@contextmanager
def after_a_chunk(log: Path, act):
    """Meanwhile, as soon as the run has told of one more chunk of steps, act."""

    def told() -> int:
        return log.read_text().count("steps/s") if log.exists() else 0

    def watch() -> None:
        while told() == before:
            if over.wait(0.01):
                return
        act()

    before, over = told(), threading.Event()
    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield
    finally:
        over.set()
        watching.join()


def children() -> set[int]:
    """The processes that the main thread has started."""
    here = os.getpid()
    return set(map(int, Path(f"/proc/{here}/task/{here}/children").read_text().split()))


def test_a_benchmark_stopped_and_a_run_killed_end_as_if_nothing_had_happened(
    failing, maze_data, tmp_path, capsys
):
    whole, broken, others = failing[1], tmp_path / "broken", children()
    run, command = broken / folder(UMAZE), words(broken, maze_data, "--tasks", "pointmaze/umaze-v0")

    with after_a_chunk(run / "log.txt", lambda: os.kill(os.getpid(), signal.SIGTERM)):
        assert main(command) == 130
    assert "the same command continues" in " ".join(capsys.readouterr().err.split())
    assert states(broken) == {folder(UMAZE): "interrupted"}
    assert final_bodies(run)

    with after_a_chunk(run / "log.txt", lambda: os.kill(*(children() - others), signal.SIGKILL)):
        assert main(command) == 1
    assert "exit code -9" in " ".join(capsys.readouterr().err.split())
    assert states(broken) == {folder(UMAZE): "failed"}

    assert main(command) == 0
    assert final_bodies(run) == final_bodies(whole / folder(UMAZE))
    assert logged(run) == logged(whole / folder(UMAZE))


def test_varied_settings_are_runs_with_a_folder_a_line_and_a_column_of_their_own(failing, tmp_path, capsys):
    """Another size of batches is added to that of a benchmark that there is."""
    out = shutil.copytree(failing[1], tmp_path / "out")

    def command(sizes, *more):
        return words(out, failing[0], "--tasks", "pointmaze/umaze-v0", *more, sizes=sizes)

    assert main(command("8,200")) == 0
    printed = capsys.readouterr().out
    labels = [f"bc-flow (flow.batch_size={size}" for size in (8, 200)]
    assert all(label in printed for label in labels)
    assert states(out) == {
        folder(UMAZE, 8): "finished",
        folder(UMAZE): "finished",
        folder(MEDIUM): "failed",
    }
    for size in (8, 200):
        flow = json.loads((out / folder(UMAZE, size) / "config.json").read_text())["agent"]["flow"]
        assert (flow["batch_size"], flow["learning_rate"]) == (size, 0.001)
    rows = list(csv.DictReader((out / "summary.csv").open()))
    assert {(row["agent"], row["variant"], row["seeds"]) for row in rows if row["mean"]} == {
        ("bc-flow", f"flow.batch_size={size},{RATE}", "1") for size in (8, 200)
    }
    assert all(label in (out / "compare" / "compare.html").read_text() for label in labels)

    assert main(command("8,200,32", "--plan")) == 0
    printed = capsys.readouterr().out
    assert f"3 runs of {STEPS:,} steps: 2 finished, 1 left" in printed
    assert re.search(r"bc-flow \(flow.batch_size=32, flow.learning_rate=0.001\) +1 waiting +5,000", printed)
