"""What is kept beside playing: it changes nothing, and is what happened."""

import numpy as np
import pytest

from tiltflow.environments import make_environment
from tiltflow.evaluation.rollouts import rollout
from tiltflow.tasks import find_task
from tiltflow.training.tracks import SHOWN_EPISODES, Tracks, maze_paths, path_tracks

SEEDS = [11, 5, 4_999_999_999, 0, 8]


def wandering(observations, episode_seeds, times):
    phase = (episode_seeds % 7)[:, None] + 0.05 * times[:, None] + np.arange(2)
    return np.sin(phase + observations[:, :1]).astype(np.float32)


@pytest.fixture(scope="module", params=["pointmaze/umaze-v0", "d4rl/maze2d-umaze-v1"])
def maze_environments(request):
    made = [make_environment(find_task(request.param)) for _ in range(2)]
    yield made
    for environment in made:
        environment.close()


def test_an_episode_is_its_seed_and_its_actions_and_watching_it_changes_nothing(maze_environments):
    plain = rollout(maze_environments, wandering, SEEDS[:3])
    tracks = Tracks(lambda observations, actions: actions)
    assert rollout(maze_environments, tracks.beside(wandering, SEEDS[:3]), SEEDS[:3]) == plain
    ((*kept,),) = tracks.of_seeds
    assert [len(track) for track in kept] == plain.lengths
    alone = maze_environments[0]
    for seed, track, total in zip(SEEDS, kept, plain.returns, strict=False):
        alone.reset(seed)
        assert sum(alone.step(action)[1] for action in track) == total


def test_paths_begin_where_episodes_do_and_never_cross_a_wall(maze_environments):
    tracks = path_tracks()
    episodes = rollout(maze_environments, tracks.beside(wandering, SEEDS), SEEDS)
    maze = maze_environments[0].maze()
    arrays = maze_paths(maze, tracks, [3], [episodes], 500)
    assert arrays["seeds"].tolist() == [3] * len(SEEDS)
    assert arrays["successes"].tolist() == episodes.successes
    starts = np.array([maze.place(maze_environments[0].reset(seed)) for seed in SEEDS])
    np.testing.assert_array_equal(arrays["positions"][:, 0], starts.astype(np.float32))
    left, right, low, high = arrays["extent"]
    rows, columns = arrays["walls"].shape
    for x, y in [*arrays["positions"].reshape(-1, 2), *arrays["goals"]]:
        row, column = (high - y) / (high - low) * rows, (x - left) / (right - left) * columns
        assert np.isnan(x) or not arrays["walls"][int(row), int(column)]


def test_of_many_episodes_the_first_are_kept(maze_environments):
    tracks = path_tracks()
    tracks.beside(wandering, list(range(SHOWN_EPISODES + 5)))
    assert len(tracks.of_seeds[0]) == SHOWN_EPISODES
