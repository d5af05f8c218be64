"""Every request to stop, to every process: a checkpoint, exit code 130, and the same bits after resuming.

Each signal with each process, moment and number of seeds is tried by `python benchmarks/stopping.py`; here
are those that differ in kind.
"""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from test_resume import final_bodies, logged

from tiltflow.cli.main import main
from tiltflow.errors import UserError
from tiltflow.files import write_json
from tiltflow.run_folder import RunFolder
from tiltflow.train_config import to_dict
from tiltflow.training.run import resume, train

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
STOPS = [("SIGTERM", "all", "chunk"), ("SIGHUP", "parent", "evaluating"), ("SIGINT", "child", "chunk")]
STOP_ALL = """
import sys
from pathlib import Path
from stopping import stop_once
for words in sys.argv[1:]:
    name, to, at = words.split()
    print(stop_once(Path("config.json"), Path(words), name, to, at), flush=True)
"""


@pytest.mark.slow
def test_a_training_that_is_asked_to_stop_loses_nothing(small_config, trained, tmp_path):
    """One process begins all of them, each in a process of its own."""
    config = small_config("bc-flow", parallel="process")
    write_json(tmp_path / "config.json", to_dict(config))
    runs = [" ".join(words) for words in STOPS]
    path = os.pathsep.join([str(BENCHMARKS), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", STOP_ALL, *runs], cwd=tmp_path, env={**os.environ, "PYTHONPATH": path},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.split() == ["130"] * len(runs), done.stderr
    whole = trained(small_config("bc-flow"))
    for run in (tmp_path / words for words in runs):
        assert not (run / "result.json").exists()
        assert list(run.glob("seeds/*/checkpoints/step-*.ckpt"))
        resume(run, in_this_process=True)
        assert final_bodies(run) == final_bodies(whole)
        assert logged(run) == logged(whole)


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """What a full disk is to this process."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_names_the_file_and_leaves_no_folder(pendulum, tmp_path, capsys):
    run = tmp_path / "run"
    words = ["--task", "file/pendulum", "--env", "Pendulum-v1", "--data", str(pendulum), "--out", str(run)]
    with files_no_larger_than(0):
        assert main(["train", "bc-flow", *words]) == 2
    assert str(run / "config.json") in capsys.readouterr().err
    assert not run.exists()
    with (
        pytest.raises(UserError, match=f"Cannot write {tmp_path / 'metrics.jsonl'}"),
        files_no_larger_than(20),
    ):
        RunFolder(tmp_path).log_metrics({"step": 1, "text": 100 * "x"})


def test_files_that_cannot_grow_end_a_training_which_resumes_to_the_same_bits(
    small_config, trained, tmp_path
):
    """A limit on the size of files, above lines of logs and below a checkpoint, once all is compiled."""
    config, limits = small_config("bc-flow"), ExitStack()

    def limit(event):
        if event["event"] == "chunk" and event["step"] == 160:
            limits.enter_context(files_no_larger_than(9000))

    with limits, pytest.raises(UserError, match=r"Cannot write .*step-0000000160\.ckpt: File too large"):
        train(config, tmp_path / "run", limit, in_this_process=True)
    resume(tmp_path / "run", in_this_process=True)
    assert final_bodies(tmp_path / "run") == final_bodies(trained(config))
    assert logged(tmp_path / "run") == logged(trained(config))


@pytest.mark.parametrize("how", ["deleted", "replaced"])
def test_a_folder_that_is_gone_ends_its_training_and_is_not_made_anew(small_config, trained, tmp_path, how):
    config, run, there = small_config("bc-flow"), tmp_path / "run", tmp_path / "there"

    def take_away(event):
        if event["event"] == "checkpoint" and event["step"] == 100 and not there.exists():
            run.rename(there)
            if how == "replaced":
                run.mkdir()

    with pytest.raises(UserError, match=rf"The folder {run} was deleted or moved"):
        train(config, run, take_away, in_this_process=True)
    assert list(run.parent.rglob("run/**/*")) == []
    assert run.exists() == (how == "replaced")
    if how == "replaced":
        resume(there, in_this_process=True)
        assert final_bodies(there) == final_bodies(trained(config))
