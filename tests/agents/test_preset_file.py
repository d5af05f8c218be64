"""A preset as a file: written, taken by `--preset`, and refused where it does not fit."""

import json

import pytest

from tiltflow.agents.preset_file import write_preset_file
from tiltflow.agents.presets import Preset
from tiltflow.agents.registry import ALGORITHMS, named_preset
from tiltflow.benchmark.plan import Plan
from tiltflow.cli.train import Train, parse
from tiltflow.errors import UserError
from tiltflow.train_config import default_out

TASK = "pointmaze/umaze-v0"


@pytest.fixture
def file(tmp_path):
    default = ALGORITHMS.find("iql").config
    rows = {"alpha": 3.5, "critic.aggregate": "mean", "critic.ensemble": 3}
    write_preset_file(tmp_path / "best.json", Preset("iql", TASK, default, rows, "tuned on the moon", 700))
    return tmp_path / "best.json"


def test_a_file_is_the_preset_of_a_training_and_of_a_benchmark(file):
    command = parse(["iql", "--task", TASK, "--preset", str(file), "--set.critic.ensemble", "4"])
    assert isinstance(command, Train)
    agent = command.config.agent
    assert (agent.alpha, agent.critic.aggregate, agent.critic.ensemble) == (3.5, "mean", 4)
    assert command.config.steps == 700
    assert str(default_out(command.config, command.preset)) == "runs/iql-best-pointmaze-umaze-v0-seed0"
    plan = Plan((TASK,), ("iql",), seeds=1, seed=0, steps=10, evaluations=1, episodes=1, preset=str(file))
    assert plan.config(plan.runs()[0]).agent.alpha == 3.5
    assert named_preset("iql", TASK, str(file)).source == "tuned on the moon"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"algorithm": "fql"}, "is of fql, not of iql"),
        ({"settings": {"alhpa": 1.0}}, "no setting 'alhpa'. Did you mean 'alpha'"),
        ({"settings": {"critic.ensemble": 0}}, "ensemble = 0"),
        ({"settings": 3}, "is damaged"),
        ({"steps": -1}, "is damaged"),
    ],
)
def test_a_file_that_does_not_fit_is_named(file, change, told):
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(UserError, match=told) as error:
        named_preset("iql", TASK, str(file))
    assert str(file) in str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        named_preset("iql", TASK, str(tmp_path / "none.json"))
