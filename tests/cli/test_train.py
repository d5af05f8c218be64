"""Training, stopping, resuming and evaluating from the command line."""

import json
import signal
import subprocess
import sys

import pytest

from tiltflow.cli.main import main

pytestmark = pytest.mark.usefixtures("quickly_compiled")

# Far from done when its first line of progress appears.
LONG = ("--steps", "40000", "--checkpoint-every", "4000", "--evaluations", "1", "--episodes", "1")


def test_train_prints_progress_score_and_files_and_evaluate_plays_again(train_words, tmp_path, capsys):
    run = tmp_path / "run"
    assert main(train_words(run, "--seeds", "2", "--parallel", "vmap")) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert lines[0] == (f"bc-flow on pointmaze/umaze-v0: seeds 0, 1, 60 steps (behaviour 60), to {run}")
    result = json.loads((run / "result.json").read_text())
    low, high = result["ci95"]
    assert lines[-4:] == [
        "bc-flow on pointmaze/umaze-v0",
        f"success {result['mean']:.1f} % (95 % interval {low:.1f} to {high:.1f} %), "
        "mean of 2 seeds with 4 episodes each",
        str(run / "result.json"),
        str(run / "report.html"),
    ]
    for seed in range(2):
        assert f"seed {seed}, step 60: success " in out

    assert main(["evaluate", str(run), "--episodes", "3"]) == 0
    assert "mean of 2 seeds with 3 episodes each" in capsys.readouterr().out

    before = (run / "result.json").read_bytes()
    assert main(train_words(run)) == 2
    assert f"tiltflow train --resume {run}" in " ".join(capsys.readouterr().err.split())
    assert (run / "result.json").read_bytes() == before


def test_a_stopped_training_exits_130_after_a_checkpoint_and_resumes(train_words, tmp_path, capsys):
    run = tmp_path / "run"
    command = [sys.executable, "-m", "tiltflow", *train_words(run, *LONG)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "steps/s" in line:
                process.send_signal(signal.SIGINT)
                break
        _, error = process.communicate()
    assert process.returncode == 130
    assert error.startswith("error: ")
    assert "Traceback" not in error
    assert not (run / "result.json").exists()
    assert list(run.glob("seeds/0/checkpoints/*"))
    assert main(["evaluate", str(run)]) == 0
    assert "mean of 1 seed with 1 episode" in capsys.readouterr().out
