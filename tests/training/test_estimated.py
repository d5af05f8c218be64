"""Runs without a simulator: scored on recorded episodes, resumable, played later where there is one."""

import json
from dataclasses import replace

import numpy as np
import pytest
from tests.training.conftest import ENVIRONMENT, TASK
from tests.training.test_resume import final_bodies, logged

from tiltflow.agents.registry import preset
from tiltflow.cli.results import result_text
from tiltflow.data.held_out import hold_out
from tiltflow.data.load import load_dataset
from tiltflow.errors import Interrupted, UserError
from tiltflow.files import read_json_lines
from tiltflow.model_settings import NetworkConfig
from tiltflow.processes.stopping import StopFlag
from tiltflow.run_folder import RunFolder
from tiltflow.tasks import find_task
from tiltflow.train_config import EstimateConfig
from tiltflow.training.estimator import Estimator
from tiltflow.training.evaluate import evaluate
from tiltflow.training.prepare import prepare, prepare_from_shared
from tiltflow.training.progress import ignore_event
from tiltflow.training.reuse import find_reusable
from tiltflow.training.run import resume, train
from tiltflow.training.shared_data import data_shared
from tiltflow.words import score_text

SETTINGS = {"env": None, "estimate": EstimateConfig(features=40), "seeds": 2}


@pytest.fixture(scope="module")
def estimated(small_config, trained):
    return trained(small_config("bc-flow", **SETTINGS))


def test_every_evaluation_estimates_each_seed(estimated):
    lines = read_json_lines(estimated / "evaluations.jsonl")
    assert len(lines) == 2
    for line in lines:
        assert np.shape(line["replicates"]) == (2, 100)
        assert np.shape(line["score"]) == (2,)
        # Rewards are from −16.3 to 0.
        assert -1630 < min(line["score"]) < max(line["score"]) < 0
        assert {"matching_loss", "wasserstein", "energy_distance"} <= line["held_out"].keys()


def test_a_critic_and_densities_estimate_the_end(small_config, tmp_path):
    config = small_config("qipo-ot", **SETTINGS | {"seeds": 1, "evaluations": 1})
    lines = read_json_lines(train(config, tmp_path / "run", in_this_process=True) / "evaluations.jsonl")
    assert [line["stage"] for line in lines] == ["behaviour", "improvement"]
    ends = {"importance_value", "critic_value"}
    assert all(np.shape(lines[-1]["held_out"][name]) == (1, 3) for name in ends)
    assert not ends & lines[0]["held_out"].keys()  # there is no critic yet


def test_its_result_is_named_an_estimate(estimated):
    result = json.loads((estimated / "result.json").read_text())
    assert result["metric"] == "estimated return (not played)"
    low, high = result["ci95"]
    assert low < result["mean"] < high
    value, low, high = result["recorded"]
    assert -1630 < low < value < high < 0
    text = f"recorded episodes themselves: {score_text(value)}"
    assert text in result_text(result)
    assert text in (estimated / "report.html").read_text()


def test_what_is_held_out_is_recorded_and_not_trained_on(estimated, pendulum):
    data = json.loads((estimated / "environment.json").read_text())["data"]
    whole = load_dataset(find_task("file/pendulum"), pendulum).train
    train_rows, held_out = hold_out(whole, EstimateConfig.held_out)
    assert data["held_out_episodes"] == held_out.episodes
    assert data["transitions"] == len(train_rows) == len(whole) - len(held_out.rows)


def test_a_stage_is_only_reused_where_the_same_episodes_were_held_out(small_config, estimated):
    """The checksum is of all that was recorded. What is held out here may have been trained on there."""
    config = small_config("qipo-ot", **SETTINGS, reuse=str(estimated))
    prepared, _ = prepare(replace(config, agent=replace(config.agent, behaviour_steps=200)))
    fresh = prepared.init([0, 1])
    assert find_reusable(prepared, [0, 1], 0, fresh).checkpoints.keys() == {0}
    for other in ({"estimate": EstimateConfig(held_out=0.2)}, {"env": ENVIRONMENT}):
        with pytest.raises(UserError, match="can be reused"):
            find_reusable(prepared.with_config(replace(prepared.config, **other)), [0, 1], 0, fresh)


def test_the_best_of_several_actions_is_not_valued_by_the_density_of_one(small_config):
    agent = preset("flowq", TASK)
    tiny = NetworkConfig(width=4, depth=1)
    agent = replace(
        agent,
        num_candidates=2,
        flow=replace(agent.flow, network=tiny),
        critic=replace(agent.critic, network=tiny),
    )
    prepared, dataset = prepare(replace(small_config("bc-flow", **SETTINGS), algorithm="flowq", agent=agent))
    estimator = Estimator(prepared, dataset.held_out, [0], ignore_event, StopFlag())
    assert not estimator._importance(prepared.init([0]))


def test_stopped_and_resumed_it_ends_with_the_same_bits(small_config, estimated, tmp_path):
    def stop(event):
        if event["event"] == "evaluation":
            raise Interrupted("between two edges")

    run = tmp_path / "run"
    with pytest.raises(Interrupted):
        train(small_config("bc-flow", **SETTINGS), run, stop)
    resume(run)
    assert final_bodies(run) == final_bodies(estimated)
    assert logged(run) == logged(estimated)


def test_processes_of_seeds_get_what_their_parent_has_held_out(small_config, tmp_path):
    config, run = small_config("bc-flow", **SETTINGS), RunFolder(tmp_path)
    run.write_config(config)
    _, dataset = prepare(config)
    with data_shared(run, dataset):
        _, theirs = prepare_from_shared(run)
        for mine, own in (
            (dataset.train, theirs.train),
            (dataset.held_out.rows, theirs.held_out.rows),
            (dataset.held_out.recorded, theirs.held_out.recorded),
        ):
            for name, column in mine.columns().items():
                np.testing.assert_array_equal(column, getattr(own, name))
    assert theirs.held_out.episodes == dataset.held_out.episodes


def test_it_is_played_where_an_environment_is_named(estimated):
    with pytest.raises(UserError, match="--env"):
        evaluate(estimated, 1)
    with pytest.raises(UserError, match="observations of 3"):
        evaluate(estimated, 1, environment="MountainCarContinuous-v0")
    result = evaluate(estimated, 1, environment=ENVIRONMENT)
    assert (result["metric"], result["episodes"]) == ("return", 1)
    assert -17 * 200 < result["mean"] < 0


def test_nothing_is_left_to_be_played_without_an_environment(small_config, tmp_path):
    with pytest.raises(UserError, match="--no-play"):
        train(small_config("bc-flow", env="none", play=False), tmp_path / "run")


def test_data_without_rewards_are_scored_by_how_near_the_actions_are(small_config, pendulum, tmp_path):
    """The same data, recorded without rewards. A policy of the data's own law is as near as chance allows."""
    arrays = dict(np.load(pendulum))
    del arrays["rewards"]
    np.savez(tmp_path / "logs.npz", **arrays)
    settings = SETTINGS | {"data": str(tmp_path / "logs.npz")}
    with pytest.raises(UserError, match="learns from rewards"):
        train(small_config("qipo-ot", **settings), tmp_path / "no")
    run = train(small_config("bc-flow", **settings), tmp_path / "run")
    result = json.loads((run / "result.json").read_text())
    assert (result["metric"], result["unit"]) == (
        "minus the distance to held-out actions",
        "% of their range",
    )
    line = read_json_lines(run / "evaluations.jsonl")[-1]
    assert line["score"][0] == pytest.approx(-100 * np.mean(line["held_out"]["wasserstein"][0]) / 2)
    assert -100 < line["score"][0] < 0
    assert "fitted Q" not in (run / "report.html").read_text()
