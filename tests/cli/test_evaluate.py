"""Improvement at test time from the command line."""

import json

import numpy as np
import pytest

from tiltflow.cli.main import main
from tiltflow.errors import UserError
from tiltflow.training.evaluate import evaluate
from tiltflow.training.guided import Guidance


@pytest.fixture(scope="module")
def runs(tmp_path_factory, maze_data):
    """A cloned policy without a critic, and one of ifql with its own."""
    from conftest import SMALL, TASK

    folder = tmp_path_factory.mktemp("runs")
    critic = ("--set.critic.network.width", "16", "--set.critic.network.depth", "2")
    for name, more in (("bc-flow", ()), ("ifql", critic)):
        words = ["train", name, "--task", TASK, "--data", str(maze_data), *SMALL, *more]
        assert main([*words, "--out", str(folder / name)]) == 0
    return folder


@pytest.mark.parametrize(
    ("words", "setting"),
    [
        (("--guidance", "best-of-n", "--candidates", "3"), "N = 3"),
        (("--guidance", "jacobian-gradient", "--strength", "0.5"), "strength = 0.5"),
    ],
)
def test_a_policy_is_improved_by_its_own_critic_and_the_setting_is_said(runs, words, setting, capsys):
    run = runs / "ifql"
    plain = (run / "result.json").read_bytes()
    assert main(["evaluate", str(run), "--episodes", "2", *words]) == 0
    assert f"with {words[1]}, {setting}, critic: own" in capsys.readouterr().out
    record = json.loads((run / f"evaluation-{words[1]}.json").read_text())
    assert len(record["returns"][0]) == 2
    assert record["q_unit"][0] > 0
    assert (run / "result.json").read_bytes() == plain


def test_a_policy_without_a_critic_takes_that_of_another_run(runs, capsys):
    words = ["evaluate", str(runs / "bc-flow"), "--episodes", "1", "--guidance", "gradient"]
    assert main(words) == 2
    assert "--critic RUN" in capsys.readouterr().err
    assert main([*words, "--critic", str(runs / "ifql")]) == 0


def test_several_settings_need_data_to_choose_by(runs):
    with pytest.raises(UserError, match="validation data"):
        evaluate(runs / "ifql", 1, guidance=Guidance("best-of-n", (2.0, 4.0)))


def test_an_exported_policy_is_written_and_called_as_the_command_says(runs, capsys):
    run = runs / "ifql"
    assert main(["export", str(run)]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0] == str(run / "policy-0.stablehlo")
    code = out[out.index("from pathlib") :]
    names = {"observations": np.zeros((3, 4), np.float32), "seed": 1}
    exec(code, names)
    assert names["actions"].shape == (3, 2)
    assert np.abs(names["actions"]).max() <= 1


def test_settings_without_guidance_are_refused(runs, capsys):
    assert main(["evaluate", str(runs / "ifql"), "--candidates", "4"]) == 2
    assert "--guidance" in capsys.readouterr().err
