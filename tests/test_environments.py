"""Environments: determined by seed and actions, bounded actions, horizons, missing packages."""

import sys

import gymnasium
import numpy as np
import pytest

from tiltflow.environments import Environment, flatten, make_environment
from tiltflow.errors import UserError
from tiltflow.tasks import find_task

NAMES = [
    "ogbench/scene-play-singletask-v0",
    "ogbench/pointmaze-teleport-navigate-singletask-v0",
    "ogbench/antsoccer-arena-navigate-singletask-v0",
    "d4rl/hopper-medium-v2",
    "d4rl/door-human-v1",
    "d4rl/maze2d-umaze-v1",
    "pointmaze/medium-v0",
]
SIZES = {"d4rl/hopper-medium-v2": (11, 3), "d4rl/door-human-v1": (39, 28), "pointmaze/medium-v0": (4, 2)}


def find(name):
    """The task, or a skip where it needs ogbench on Python 3.13 (whose dependency labmaze is not there)."""
    if name.startswith("ogbench/"):
        pytest.importorskip("ogbench")
    return find_task(name)


def play(environment, seed, actions):
    observations, rewards = [environment.reset(seed)], []
    for action in actions:
        observation, reward, *_ = environment.step(action)
        observations.append(observation)
        rewards.append(reward)
    return np.array(observations), np.array(rewards)


@pytest.mark.parametrize("name", NAMES)
def test_a_trajectory_is_a_function_of_seed_and_actions(name):
    task = find(name)
    environment = make_environment(task)
    actions = np.random.default_rng(0).uniform(-1, 1, (25, environment.action_size)).astype(np.float32)
    first = play(environment, 7, actions)
    other = play(environment, 8, actions)
    outside = np.random.get_state()[1].copy()
    again = play(environment, 7, actions)
    fresh = play(make_environment(task), 7, actions)
    for trajectory in (again, fresh):
        np.testing.assert_array_equal(trajectory[0], first[0])
        np.testing.assert_array_equal(trajectory[1], first[1])
    assert np.any(other[0] != first[0])
    assert first[0].dtype == np.float32
    np.testing.assert_array_equal(np.random.get_state()[1], outside)
    if name in SIZES:
        assert (first[0].shape[1], environment.action_size) == SIZES[name]


def test_teleports_do_not_depend_on_how_episodes_are_interleaved():
    """A teleport draws its exit from numpy's global generator; each environment has its own state of it."""
    task = find("ogbench/pointmaze-teleport-navigate-singletask-task4-v0")

    def run(seed, between=lambda: None):
        # Task 4 starts at the lower left; the entrance of a teleport lies straight above.
        environment = make_environment(task)
        positions = [environment.reset(seed)]
        for _ in range(60):
            positions.append(environment.step(np.array([0.0, -1.0]))[0])
            between()
        return np.array(positions)

    for seed in range(3):
        alone = run(seed)
        assert np.abs(np.diff(alone, axis=0)).max() > 1
        np.testing.assert_array_equal(run(seed, lambda: np.random.rand(3)), alone)


def test_actions_are_scaled_to_the_bounds_and_clipped():
    task = find_task("file/swing", "Pendulum-v1")
    environment, reference = make_environment(task), task.source.environment(task, None)
    for action, torque in [(0.25, 0.5), (-1.0, -2.0), (5.0, 2.0)]:
        environment.reset(3)
        reference.reset(seed=3)
        observation, reward, *_ = environment.step(np.array([action], np.float32))
        expected = reference.step(np.array([torque], np.float32))
        np.testing.assert_allclose(observation, expected[0], rtol=1e-6)
        assert reward == pytest.approx(float(expected[1]), rel=1e-6)


def test_episodes_are_cut_at_the_horizon_of_the_task():
    environment = make_environment(find_task("pointmaze/umaze-v0"))
    environment.reset(0)
    flags = [environment.step(np.zeros(2, np.float32))[2:4] for _ in range(300)]
    assert flags[-1] == (False, True)
    assert not any(truncated for _, truncated in flags[:-1])


@pytest.mark.parametrize("name", ["pointmaze/umaze-v0", "d4rl/maze2d-umaze-v1"])
def test_the_point_maze_rewards_its_fixed_goal_and_goes_on(name):
    task = find_task(name)
    native = name.startswith("pointmaze/")
    environment = make_environment(task)
    up, left = (
        (np.array([0, 1.0]), np.array([-1.0, 0])) if native else (np.array([-1.0, 0]), np.array([0, -1.0]))
    )
    goal = np.array([-1.0, 1.0]) if native else np.array([1.0, 1.0])
    for seed in range(5):
        environment.reset(seed)
        # From wherever: to the right, up and left until a wall; then past the goal.
        successes, near, rewards = [], [], []
        for action in [-left] * 80 + [up] * 80 + [left] * 80 + [-left - up] * 50:
            observation, reward, terminated, _, success = environment.step(action)
            successes.append(success)
            rewards.append(reward)
            near.append(np.linalg.norm(observation[:2] - goal) <= 0.5)
            assert not terminated
        assert any(successes)
        assert successes == near
        assert rewards == [float(success) for success in successes]


def test_ogbench_rewards_follow_the_step_and_success_terminates():
    """Timing of OGBench 1.1: the step that solves the task is the one that is rewarded."""
    task = find("ogbench/pointmaze-medium-navigate-singletask-task1-v0")
    environment = task.source.environment(task, None)
    environment.reset(seed=0)
    maze = environment.unwrapped
    # The goal's radius is 1, a step at most 0.2 long.
    maze.set_xy(np.array(maze.cur_goal_xy) - np.array([1.15, 0.0]))
    assert not maze.compute_success()
    _, reward, terminated, _, info = maze.step(np.array([1.0, 0.0]))
    assert (reward, terminated, info["success"]) == (0.0, True, 1.0)


def test_dictionaries_are_joined_in_the_order_of_their_space():
    box = gymnasium.spaces.Box(-1, 1, (2,))
    space = gymnasium.spaces.Dict({"b": box, "a": gymnasium.spaces.Dict({"x": box})})
    value = {"a": {"x": np.array([3, 4])}, "b": np.array([1, 2])}
    np.testing.assert_array_equal(
        flatten(space, value), gymnasium.spaces.flatten(space, value).astype(np.float32)
    )


@pytest.mark.parametrize(
    ("name", "package", "extra"),
    [
        ("ogbench/scene-play-singletask-v0", "ogbench", "ogbench"),
        ("d4rl/hopper-medium-v2", "gymnasium", "envs"),
        ("minari/own/swing-v0", "minari", "d4rl"),
    ],
)
def test_a_missing_package_names_the_extra(monkeypatch, tmp_path, name, package, extra):
    for module in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    (tmp_path / "own/swing-v0/data").mkdir(parents=True)
    (tmp_path / "own/swing-v0/data/metadata.json").write_text("{}")
    with pytest.raises(UserError, match=rf"pip install -c constraints.txt '\.\[{extra}\]'"):
        make_environment(find_task(name))


def test_unusable_environments_are_refused():
    with pytest.raises(UserError, match=r"names no environment\. Give --env"):
        make_environment(find_task("file/arm"))
    with pytest.raises(UserError, match=r"no environment 'Pendulm-v1'\. Did you mean 'Pendulum-v1'"):
        make_environment(find_task("file/arm", "Pendulm-v1"))
    with pytest.raises(UserError, match="only continuous actions"):
        make_environment(find_task("file/pole", "CartPole-v1"))


def test_an_environment_of_a_users_module(tmp_path, monkeypatch):
    module = (
        'import gymnasium\ngymnasium.register("MyArm-v0", "gymnasium.envs.classic_control:PendulumEnv")\n'
    )
    (tmp_path / "my_robot_envs.py").write_text(module)
    with pytest.raises(UserError, match="PYTHONPATH"):
        make_environment(find_task("file/arm", "my_robot_envs:MyArm-v0"))
    monkeypatch.syspath_prepend(tmp_path)
    environment = make_environment(find_task("file/arm", "my_robot_envs:MyArm-v0"))
    assert environment.reset(0).shape == (3,)
    with pytest.raises(UserError, match=r"Did you mean 'MyArm-v0'"):
        make_environment(find_task("file/arm", "my_robot_envs:MyAmr-v0"))


@pytest.mark.parametrize(("limit", "steps"), [(1200, 1200), (None, 1000)])
def test_an_own_environment_has_its_own_limit_or_1000_steps(limit, steps):
    gymnasium.register(
        f"Swing{steps}-v0", "gymnasium.envs.classic_control:PendulumEnv", max_episode_steps=limit
    )
    environment = make_environment(find_task("file/swing", f"Swing{steps}-v0"))
    environment.reset(0)
    taken, over = 0, False
    while not over:
        *_, terminated, truncated, _ = environment.step(np.zeros(1))
        taken, over = taken + 1, terminated or truncated
    assert taken == steps


class Unruly(gymnasium.Env):
    """An environment of a user that does one thing otherwise than Gymnasium has it."""

    observation_space = gymnasium.spaces.Box(-1, 1, (2,))
    action_space = gymnasium.spaces.Box(-1, 1, (1,))
    spec = gymnasium.envs.registration.EnvSpec("Unruly-v0")

    def __init__(self, **does):
        vars(self).update(does)

    def reset(self, *, seed=None):
        return np.zeros(2), {}

    def step(self, action):
        return self.stepped


@pytest.mark.parametrize(
    ("does", "text"),
    [
        ({"stepped": (np.zeros(2), 0.0, False, {})}, r"failed in step\(action\): ValueError: not enough"),
        ({"stepped": (np.zeros(2), None, False, False, {})}, r"failed in step\(action\): TypeError"),
        ({"stepped": (np.zeros(2), np.zeros(2), False, False, {})}, r"failed in step\(action\): TypeError"),
        ({"stepped": (np.zeros(2), np.nan, False, False, {})}, "its reward is nan"),
        ({"stepped": ((np.zeros(2), np.zeros(3)), 0.0, False, False, {})}, "inhomogeneous"),
        ({"reset": lambda: (np.zeros(2), {})}, r"failed in reset\(seed=…\): TypeError.*unexpected keyword"),
    ],
)
def test_what_an_environment_of_the_user_does_wrong_is_said_of_it(does, text):
    environment = Environment(Unruly(**does), 10, draws_globally=False)
    call = (lambda: environment.reset(0)) if "reset" in does else lambda: environment.step(np.zeros(1))
    with pytest.raises(UserError, match=f"The environment Unruly-v0 .*{text}"):
        call()


def test_bounds_of_an_environment_that_stand_for_none_are_refused():
    largest = Unruly(action_space=gymnasium.spaces.Box(-3.3e38, 3.3e38, (1,)))
    with pytest.raises(UserError, match="finite bounds"):
        Environment(largest, 10, draws_globally=False)
