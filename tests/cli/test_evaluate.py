"""Policies of runs played again, improved at test time, from the command line."""

import json
import shutil
from types import SimpleNamespace

import pytest

from tiltflow.agents.registry import ALGORITHMS
from tiltflow.cli.main import main
from tiltflow.errors import UserError
from tiltflow.settings import override
from tiltflow.train_config import TrainConfig
from tiltflow.training.evaluate import evaluate, with_noise
from tiltflow.training.load_run import LoadedRun
from tiltflow.training.test_time_guidance import Guidance

pytestmark = pytest.mark.usefixtures("quickly_compiled")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--candidates", "4"], "--guidance best-of-n"),
        (["--strength", "2"], "--guidance gradient"),
        (["--critic", "runs/other"], "what --guidance takes Q from"),
        (["--guidance", "best-of-n", "--strength", "2"], "--strength is that of --guidance gradient"),
        (["--guidance", "gradient", "--candidates", "2"], "--candidates is N of"),
        (["--guidance", "best-of-n", "--candidates"], "need a number"),
        (["--guidance", "best-of-n", "--candidates", "0"], "at least 1"),
        (["--guidance", "gradient", "--strength=-1"], "from 0 up"),
        (["--guidance", "gradient", "--strength", "nan"], "from 0 up"),
        (["--noise=-0.5"], "from 0 up"),
    ],
)
def test_settings_that_guidance_does_not_read_or_that_cannot_be_are_refused(capsys, words, text):
    assert main(["evaluate", "runs/any", *words]) == 2
    assert text in " ".join(capsys.readouterr().err.split())


def test_noise_that_a_distilled_policy_does_not_draw_is_refused():
    agent = override(ALGORITHMS.find("bc-flow").config, {"distill": True})
    config = TrainConfig("bc-flow", "pointmaze/umaze-v0", agent)
    loaded = LoadedRun(SimpleNamespace(config=config, with_config=lambda config: config), [], 0)
    with pytest.raises(UserError, match="no effect on a distilled policy"):
        with_noise(loaded, 0.5, flow_plays=False)
    assert with_noise(loaded, 0.5, flow_plays=True).prepared.agent.flow.play_noise == 0.5


def test_a_file_in_the_place_of_the_folder_is_refused_before_anything_is_read(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main(["export", str(tmp_path / "none"), "--out", str(tmp_path / "file")]) == 2
    assert "is a file; give a folder" in " ".join(capsys.readouterr().err.split())
    assert main(["export", str(tmp_path / "none")]) == 2
    assert "it is not a folder" in " ".join(capsys.readouterr().err.split())


def test_policies_are_improved_at_test_time(trained_here, cloned, tmp_path, capsys):
    """One test, for it trains: a cloned policy without a critic, and one of ifql with its own."""
    clone = shutil.copytree(cloned, tmp_path / "bc-flow")
    small_critic = ("--set.critic.network.width", "16", "--set.critic.network.depth", "2")
    run = trained_here(tmp_path / "ifql", "ifql", *small_critic)
    plain = (run / "result.json").read_bytes()

    # Its own critic; the setting is said, and kept in a file of its own.
    for kind, option, value, said in (
        ("best-of-n", "--candidates", "3", "N = 3"),
        ("jacobian-gradient", "--strength", "0.5", "strength = 0.5"),
    ):
        words = ["evaluate", str(run), "--episodes", "2", "--guidance", kind, option, value]
        assert main(words) == 0
        out = capsys.readouterr().out
        assert f"with {kind}, {said}, critic: own" in out
        file = run / f"evaluation-{kind}-{value}.json"
        assert out.splitlines()[-1] == str(file)
        record = json.loads(file.read_text())
        assert len(record["returns"][0]) == 2
        assert record["q_unit"][0] > 0
    assert (run / "result.json").read_bytes() == plain

    # The critic of another run.
    words = ["evaluate", str(clone), "--episodes", "1", "--guidance", "gradient"]
    assert main(words) == 2
    assert "--critic RUN" in capsys.readouterr().err
    assert main([*words, "--critic", str(run)]) == 0

    # Less noise, in a file of its own; the run stays as it was.
    assert main(["evaluate", str(clone), "--episodes", "1", "--noise", "0"]) == 0
    record = json.loads((clone / "evaluation-noise-0.json").read_text())
    assert record["noise"] == 0.0
    assert json.loads((clone / "config.json").read_text())["agent"]["flow"]["play_noise"] == 1.0

    # What cannot be.
    with pytest.raises(UserError, match="validation data"):
        evaluate(run, 1, guidance=Guidance("best-of-n", (2.0, 4.0)))
    # Q of other data would have another unit.
    other = tmp_path / "other"
    assert main(["data", "collect", "pointmaze-umaze-v0", "--episodes", "1", "--out", str(other)]) == 0
    moved = shutil.copytree(run, tmp_path / "moved")
    record = json.loads((moved / "config.json").read_text())
    (moved / "config.json").write_text(json.dumps({**record, "data": str(other)}))
    capsys.readouterr()
    assert main(["evaluate", str(moved), "--episodes", "1", "--guidance", "best-of-n"]) == 2
    assert "is not what the policy was trained on" in " ".join(capsys.readouterr().err.split())
