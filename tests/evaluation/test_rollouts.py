import json

import gymnasium
import numpy as np
import pytest

from tiltflow.environments import make_environment
from tiltflow.errors import TrainingDiverged
from tiltflow.evaluation.rollouts import rollout
from tiltflow.tasks import find_task

SEEDS = [11, 5, 4_000_000_000, 0, 8]


def swaying(observations, episode_seeds, times):
    """A policy that depends on the observation, the seed of the episode and the time."""
    phase = episode_seeds.astype(np.float64) % 7 + 0.3 * times + observations.sum(axis=1)
    return np.sin(phase[:, None] + np.arange(3)).astype(np.float32)


@pytest.fixture(scope="module")
def environments():
    task = find_task("file/mine", environment="Hopper-v5")
    made = [make_environment(task) for _ in range(4)]
    yield made
    for environment in made:
        environment.close()


def test_an_episode_does_not_depend_on_those_played_beside_it(environments):
    one_at_a_time = rollout(environments[:1], swaying, SEEDS)
    assert len(set(one_at_a_time.lengths)) > 1
    assert rollout(environments[:3], swaying, SEEDS) == one_at_a_time
    assert rollout(environments, swaying, SEEDS) == one_at_a_time
    backwards = rollout(environments[:2], swaying, SEEDS[::-1])
    assert backwards.returns[::-1] == one_at_a_time.returns


def test_an_episode_is_what_gymnasium_plays(environments):
    episodes = rollout(environments[:2], swaying, SEEDS[:2])
    gym = gymnasium.make("Hopper-v5")
    for index, seed in enumerate(SEEDS[:2]):
        observation, _ = gym.reset(seed=seed)
        total, length, over = 0.0, 0, False
        while not over:
            rows = (
                observation.astype(np.float32)[None],
                np.array([seed], np.uint32),
                np.array([length], np.int32),
            )
            observation, reward, terminated, truncated, _ = gym.step(swaying(*rows)[0])
            total, length, over = total + reward, length + 1, terminated or truncated
        assert episodes.lengths[index] == length
        assert episodes.returns[index] == pytest.approx(total, rel=1e-9)
    gym.close()


def test_the_policy_sees_the_same_number_of_rows_always_and_progress_counts_episodes(environments):
    shapes, finished = set(), []

    def policy(observations, episode_seeds, times):
        shapes.add((observations.shape, observations.dtype, episode_seeds.dtype, times.dtype))
        return swaying(observations, episode_seeds, times)

    episodes = rollout(environments, policy, SEEDS, finished.append)
    assert shapes == {((4, 11), np.dtype(np.float32), np.dtype(np.uint32), np.dtype(np.int32))}
    assert finished == [1, 2, 3, 4, 5]
    assert rollout(environments, policy, SEEDS[:2]).returns == episodes.returns[:2]
    assert len(shapes) == 1


def test_episodes_can_be_written_as_json(environments):
    episodes = rollout(environments, swaying, SEEDS[:1])
    assert json.loads(json.dumps(vars(episodes))) == vars(episodes)


def test_no_seeds_no_episodes(environments):
    assert rollout(environments, swaying, []).returns == []


def test_episodes_end_at_the_horizon_and_success_at_any_step_counts():
    """The pusher of point mazes reaches a goal that lies within reach; the episode goes on to its limit."""
    task = find_task("pointmaze/umaze-v0")
    environment = make_environment(task)

    def towards_the_goal(observations, episode_seeds, times):
        return np.clip(10 * (observations[:, -2:] - observations[:, :2]) - observations[:, 2:4], -1, 1)

    episodes = rollout([environment], towards_the_goal, [0, 1, 2, 3])
    environment.close()
    assert set(episodes.lengths) <= set(range(1, task.horizon + 1))
    assert any(episodes.successes)


def test_an_action_that_is_not_finite_is_reported(environments):
    def broken(observations, episode_seeds, times):
        actions = swaying(observations, episode_seeds, times)
        actions[(episode_seeds == 5) & (times == 3)] = np.nan
        return actions

    with pytest.raises(TrainingDiverged, match=r"not finite .* at step 3 of the episode with seed 5"):
        rollout(environments[:2], broken, SEEDS)


def test_no_environments_are_refused():
    with pytest.raises(ValueError, match="at least one environment"):
        rollout([], swaying, [1])


def test_seeds_of_any_size_are_played(environments):
    seen = set()

    def watching(observations, episode_seeds, times):
        seen.update(episode_seeds.tolist())
        return swaying(observations, episode_seeds, times)

    seed = 5_001_000_000
    assert rollout(environments[:1], watching, [seed]) == rollout(environments[:1], watching, [seed])
    assert seen == {seed % 2**32}
