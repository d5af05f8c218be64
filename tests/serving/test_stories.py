"""From files alone to actions of a loop: a user's CSV, a LeRobot folder and a robomimic file."""

import csv
from pathlib import Path

import numpy as np
import pytest

import tiltflow
from tiltflow.files import read_json
from tiltflow.serving.load_policy import load_policy
from tiltflow.train_config import EstimateConfig

OFFICIAL = Path(__file__).parent.parent / "data" / "official"
FLOW = {"flow.network.width": 8, "flow.network.depth": 1, "flow.num_steps": 2}
IQL = {"actor.network.width": 8, "actor.network.depth": 1, "actor.learning_rate": 0.01}
IQL |= {"critic.network.width": 8, "critic.network.depth": 1}


def train(algorithm, data, out, settings=FLOW, **more):
    options = {"steps": 40, "evaluations": 1, "chunk": 20, "estimate": EstimateConfig(features=20), **more}
    return tiltflow.train(algorithm, data, out=out, settings=settings, quiet=True, **options).folder


def write_episodes(folder: Path, count: int = 20) -> None:
    """Pushes of up to 2 that bring a mass to rest, logged under names of one's own."""
    random = np.random.default_rng(0)
    for episode in range(count):
        place, speed = random.standard_normal(2)
        with (folder / f"episode_{episode:02}.csv").open("w", newline="") as stream:
            log = csv.writer(stream)
            log.writerow(["place", "speed", "push", "gain"])
            for _ in range(12):
                push = float(np.clip(-place - speed + 0.5 * random.standard_normal(), -2, 2))
                log.writerow([place, speed, push, -(place**2)])
                place, speed = place + 0.1 * speed, speed + 0.1 * push


def test_twenty_episodes_as_csv_become_actions_in_their_units(tmp_path, serving, policy_client):
    write_episodes(tmp_path)
    told = {"columns": "observations=place+speed,actions=push,rewards=gain", "action_bounds": "-2 2"}
    run = train("iql", tmp_path, tmp_path / "run", IQL, **told)
    result = read_json(run / "result.json")
    assert result["metric"] == "estimated return (not played)"
    assert result["episodes"] == 20
    with serving(load_policy(run)) as address:
        client = policy_client(address)
        assert client.card["observation_names"] == ["place", "speed"]
        actions = np.array([client(np.float32([place, 0.0])) for place in np.linspace(-1, 1, 20)])
        client.close()
    assert actions.shape == (20, 1)
    assert np.abs(actions).max() <= 2
    assert np.abs(actions).max() > 0.1


@pytest.mark.parametrize(
    ("source", "observation"),
    [
        ("lerobot-v3", {"observation.state": np.zeros(4), "observation.environment_state": np.zeros(2)}),
        ("robomimic.hdf5", {"obs/flat": np.zeros(6)}),
    ],
)
def test_files_of_other_libraries_become_a_policy_of_their_columns(tmp_path, source, observation):
    run = train("bc-flow", OFFICIAL / source, tmp_path / "run")
    policy = tiltflow.load(run).policy()
    card = policy.card.to_json()
    low, high = np.float32(card["action_low"]), np.float32(card["action_high"])
    action = policy(observation, seed=0)
    assert action.shape == (2,)
    assert (low <= action).all()
    assert (action <= high).all()
    np.testing.assert_array_equal(action, policy(observation, seed=0))
