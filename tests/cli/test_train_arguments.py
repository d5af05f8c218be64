"""From the words behind `tiltflow train` to the config of a run."""

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from tiltflow.agents.qipo_settings import QIPOConfig
from tiltflow.agents.registry import ALGORITHMS, preset
from tiltflow.cli.train import Resume, Train, default_out, parse
from tiltflow.errors import UserError
from tiltflow.report.command import train_command
from tiltflow.train_config import TrainConfig, to_dict

TASK = "ogbench/cube-single-play-singletask-task2-v0"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_without_options_a_run_has_the_preset_of_its_task(algorithm):
    expected = TrainConfig(algorithm, TASK, preset(algorithm, TASK))
    assert parse([algorithm, "--task", TASK]) == Train(expected, None)
    assert parse([f"--task={TASK}", algorithm]) == Train(expected, None)


def test_options_set_the_fields_and_nested_hyper_parameters():
    words = f"--task {TASK} --seeds 3 --seed 5 --out runs/x --parallel vmap qipo-ot --steps 9000"
    words += " --set.critic.kind in-support-softmax --set.behaviour-steps 50000 --set.beta=7"
    words += " --set.critic.network.layer-norm none --set.flow.network.width 64"
    command = parse(words.split())
    assert isinstance(command, Train)
    config = command.config
    assert command.out == Path("runs/x")
    assert (config.seeds, config.seed, config.parallel, config.steps) == (3, 5, "vmap", 9000)
    agent = config.agent
    assert isinstance(agent, QIPOConfig)
    assert (agent.critic.kind, agent.behaviour_steps, agent.beta) == ("in-support-softmax", 50000, 7.0)
    assert agent.critic.network.layer_norm == "none"
    assert agent.flow.network.width == 64
    assert agent.flow.network.depth == preset("qipo-ot", TASK).flow.network.depth


def test_the_command_that_a_report_prints_parses_to_the_same_config():
    agent = preset("qipo-diff", TASK)
    assert isinstance(agent, QIPOConfig)
    agent = replace(agent, beta=5.0, critic_steps=123, critic=replace(agent.critic, ensemble=4))
    config = TrainConfig(
        "qipo-diff", TASK, agent, seeds=2, normalize_observations=False, data="a folder/x.npz"
    )
    program, verb, *words = shlex.split(train_command(to_dict(config)))
    assert (program, verb) == ("tiltflow", "train")
    assert parse(words) == Train(config, None)


@pytest.mark.parametrize(
    "words", ["--action-bounds -2 2", "--action-bounds '-2 2'", "--action-bounds='-2 2'"]
)
def test_the_bounds_of_actions_are_two_values_which_may_begin_with_minus(words):
    given = shlex.split(f"iql --task file/arm {words} --columns observations=x+y,actions=u --reward 'd<0.1'")
    config = parse(given).config
    assert config.action_bounds == "-2 2"
    assert config.column_choice().bounds == ((-2.0,), (2.0,))
    assert config.column_choice().roles["observations"] == ("x", "y")
    assert parse(shlex.split(train_command(to_dict(config)))[2:]).config == config
    with pytest.raises(UserError, match="lowest and the highest"):
        parse(["iql", "--task", "file/arm", "--action-bounds", "-2", "--steps", "10"])


def test_resume_takes_the_run_alone():
    assert parse(["--resume", "runs/x"]) == Resume(Path("runs/x"))
    assert parse(["--resume=runs/x"]) == Resume(Path("runs/x"))
    longer = parse(["--resume", "runs/x", "--steps", "5", "--log", "wandb"])
    assert longer == Resume(Path("runs/x"), steps=5, log="wandb")
    with pytest.raises(SystemExit) as stop:
        parse(["--resume", "runs/x", "--seeds", "5"])
    assert stop.value.code == 2


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--set.critic.beta", "3"], "does not read it; it reads --set.critic.expectile"),
        (["--set.critic.num_support_actions=3"], "choose --set.critic.kind in-support-softmax"),
        (
            ["--set.critic.kind", "in-support-softmax", "--set.critic.expectile", "0.7"],
            "reads --set.critic.beta",
        ),
        (["--set.critic.pessimism", "1"], "choose --set.critic.aggregate pessimistic"),
    ],
)
def test_a_setting_that_the_critic_does_not_read_is_refused(options, text):
    with pytest.raises(UserError, match=re.escape(text)):
        parse(["qipo-ot", "--task", TASK, *options])


def test_a_setting_that_the_critic_reads_is_taken():
    softmax = ["--set.critic.kind", "in-support-softmax", "--set.critic.beta", "3"]
    assert parse(["qipo-ot", "--task", TASK, *softmax]).config.agent.critic.beta == 3
    learning = ["--set.continue-critic", "True", "--set.critic.beta", "3"]
    assert parse(["qipo-ot", "--task", TASK, *learning]).config.agent.critic.beta == 3


def test_a_name_that_begins_another_suggests_it():
    with pytest.raises(UserError, match="Did you mean 'qipo-ot'"):
        parse(["qipo", "--task", TASK])


@pytest.mark.parametrize(
    ("options", "folder"),
    [
        ([], "qipo-ot-ogbench-cube-single-play-singletask-task2-v0-seed0"),
        (["--seed", "3"], "qipo-ot-ogbench-cube-single-play-singletask-task2-v0-seed3"),
        (["--seeds", "4", "--seed", "2"], "qipo-ot-ogbench-cube-single-play-singletask-task2-v0-seeds2-5"),
    ],
)
def test_the_default_folder_names_algorithm_task_and_seeds(options, folder):
    command = parse(["qipo-ot", "--task", TASK, *options])
    assert isinstance(command, Train)
    assert default_out(command.config) == Path("runs") / folder


@pytest.mark.parametrize("option", ["seeds", "steps", "evaluations", "episodes", "chunk", "checkpoint-every"])
def test_a_number_of_nothing_is_refused_by_name(option):
    with pytest.raises(UserError, match=option.replace("-", "_")):
        parse(["bc-flow", "--task", TASK, f"--{option}", "0"])
