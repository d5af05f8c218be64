"""`--preset published` from the command line: trained and played; refused where there is none."""

import json

import pytest

from tiltflow.benchmark.plan import Plan
from tiltflow.cli.main import main
from tiltflow.cli.train import Train, default_out, parse
from tiltflow.errors import UserError
from tiltflow.files import read_json_lines
from tiltflow.report.command import train_command

pytestmark = pytest.mark.usefixtures("quickly_compiled")

HOPPER = "d4rl/hopper-medium-v2"
TINY = (
    *("--evaluations", "1", "--set.flow.batch-size", "64", "--set.critic.network.width", "16"),
    *("--set.num-support-actions", "4", "--set.critic.num-support-actions", "4", "--set.refresh-every", "3"),
)


def test_a_published_training_is_played_and_its_command_names_the_preset(trained_here, tmp_path):
    run = trained_here(tmp_path / "run", "qipo-ot", "--preset", "published", *TINY)
    ends = {record["stage"]: record["step"] for record in read_json_lines(run / "metrics.jsonl")}
    assert ends == {"behaviour": 30, "critic": 55, "improvement": 60}
    config = json.loads((run / "config.json").read_text())
    assert config["agent"]["flow"]["path"] == "ot-clipped"
    assert (config["agent"]["beta"], config["agent"]["include_data_action"]) == (3.0, False)
    command = train_command(config)
    assert "--preset published" in command
    assert "--set.beta" not in command
    assert json.loads((run / "result.json").read_text())["episodes"] == 2


def test_the_preset_sets_the_steps_where_none_are_given_and_names_the_folder():
    words = ["qipo-ot", "--task", HOPPER, "--preset=published"]
    command = parse(words)
    assert isinstance(command, Train)
    assert command.config.steps == 1_200_000
    assert (
        str(default_out(command.config, command.preset))
        == "runs/qipo-ot-published-d4rl-hopper-medium-v2-seed0"
    )
    assert parse([*words, "--steps", "400000"]).config.steps == 400_000
    ours = parse(["qipo-ot", "--task", HOPPER, "--preset", "ours"])
    assert ours == parse(["qipo-ot", "--task", HOPPER])


@pytest.mark.parametrize("command", ["train", "benchmark"])
def test_presets_that_there_are_not_are_refused_by_name(command, tmp_path, capsys):
    task = ["--task", HOPPER] if command == "train" else ["--agents", "iql", "qipo-ot"]
    first = "iql" if command == "train" else "d4rl-locomotion"
    out = ["--out", str(tmp_path / "out")]
    assert main([command, first, *task, "--preset", "published", *out]) == 2
    assert "iql has no preset 'published'; qipo-ot, qipo-diff" in " ".join(capsys.readouterr().err.split())
    assert main([command, first, *task, "--preset", "publishd", *out]) == 2
    assert "Did you mean 'published'? Known: ours, published" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def test_a_benchmark_of_the_published_preset():
    numbers = {"seeds": 1, "seed": 0, "steps": 100, "evaluations": 1, "episodes": 1}
    plan = Plan((HOPPER,), ("qipo-ot", "qipo-diff"), preset="published", **numbers)
    paths = [plan.config(run).agent.flow.path for run in plan.runs()]
    assert paths == ["ot-clipped", "vp"]
    with pytest.raises(UserError, match="bc-flow has no preset"):
        Plan((HOPPER,), ("bc-flow",), preset="published", **numbers)
