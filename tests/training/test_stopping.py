"""Every request to stop, to every process: a checkpoint, exit code 130, and the same bits after resuming.

Each signal with each process, moment and number of seeds is tried by `python benchmarks/stopping.py`; here
are those that differ in kind.
"""

import resource
import subprocess
import sys
from pathlib import Path

import pytest
from test_resume import final_bodies, logged

from tiltflow.errors import UserError
from tiltflow.files import write_json
from tiltflow.train_config import to_dict
from tiltflow.training.run import resume, train

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
    for seed in map(str, range(seeds)):
        whole = trained(small_config("bc-flow", seed=int(seed)))
        assert final_bodies(run)[seed] == final_bodies(whole)[seed]
        assert logged(run / "seeds" / seed) == logged(whole / "seeds" / seed)


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


def test_files_that_cannot_grow_end_a_training_which_resumes_to_the_same_bits(
    small_config, trained, tmp_path
):
    """A limit on the size of files, above lines of logs and below a checkpoint, once all is compiled."""
    config, before = small_config("bc-flow"), resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(event):
        if event["event"] == "chunk" and event["step"] == 160:
            resource.setrlimit(resource.RLIMIT_FSIZE, (9000, before[1]))

    try:
        with pytest.raises(UserError, match=r"Cannot write .*step-0000000160\.ckpt: File too large"):
            train(config, tmp_path / "run", limit, in_this_process=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
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
