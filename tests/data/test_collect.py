"""Collected data: reproducible, of the real environments, in the published formats."""

import numpy as np
import pytest

from tiltflow.data.collect import collect
from tiltflow.data.collect_manipulation import ManipulationProtocol
from tiltflow.data.collect_navigate import NavigateProtocol
from tiltflow.data.load import audit_path, load_dataset
from tiltflow.data.shortest_paths import free_cells, next_cells
from tiltflow.environments import make_environment, make_ogbench
from tiltflow.errors import UserError
from tiltflow.tasks import find_task


@pytest.fixture(scope="module")
def umaze(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pointmaze")
    return collect("pointmaze-umaze-v0", 6, folder, seed=3)


def test_equal_seeds_give_equal_bytes_and_other_seeds_other_data(umaze, tmp_path):
    again = collect("pointmaze/umaze-v0", 6, tmp_path / "again", seed=3)
    other = collect("pointmaze-umaze-v0", 6, tmp_path / "other", seed=4)
    assert again.name == umaze.name == "pointmaze-umaze-v0.npz"
    assert again.read_bytes() == umaze.read_bytes() != other.read_bytes()


def test_a_shorter_collection_is_the_beginning_of_a_longer_one(umaze, tmp_path):
    short = collect("pointmaze-umaze-v0", 2, tmp_path, seed=3)
    with np.load(short) as few, np.load(umaze) as many:
        for key in many.files:
            np.testing.assert_array_equal(few[key], many[key][:600])


def test_point_maze_transitions_are_those_of_the_evaluation_environment(umaze):
    task = find_task("pointmaze/umaze-v0")
    data = load_dataset(task, umaze.parent).train
    environment = make_environment(task)
    for episode in range(2):
        seed = int(np.random.default_rng([3, 0, episode]).integers(2**31))
        observation = environment.reset(seed)
        for row in range(300 * episode, 300 * episode + 300):
            np.testing.assert_array_equal(observation, data.observations[row])
            observation, reward, *_, truncated, success = environment.step(data.actions[row])
            np.testing.assert_array_equal(observation, data.next_observations[row])
            assert reward == data.rewards[row] == float(success)
        assert truncated
        assert data.ends[row]


def test_the_controller_reaches_its_goals(umaze):
    """Random goals lead the point through every cell of the maze."""
    data = load_dataset(find_task("pointmaze/umaze-v0"), umaze).train
    visited = {(round(float(x)), round(float(y))) for x, y in data.observations[:, :2]}
    assert {(-1, -1), (0, -1), (1, -1), (1, 0), (1, 1), (0, 1), (-1, 1)} <= visited
    assert 0 < data.rewards.mean() < 0.5
    assert audit_path(umaze) == []


def test_progress_counts_all_episodes(tmp_path):
    calls = []
    collect("pointmaze-umaze-v0", 3, tmp_path, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("maze", ["pointmaze-giant-v0", "pointmaze-teleport-v0"])
def test_the_navigator_takes_the_way_of_the_ogbench_package(ogbench, maze):
    environment = make_ogbench(maze).unwrapped
    walls = environment.maze_map == 1
    cells = free_cells(walls)
    for goal in cells[::5]:
        following = next_cells(walls, goal)
        for cell in cells[::3]:
            subgoal, _ = environment.get_oracle_subgoal(
                environment.ij_to_xy(cell), environment.ij_to_xy(goal)
            )
            # A cell that does not reach the goal (but by a teleport) is its own subgoal.
            assert environment.xy_to_ij(subgoal) == following.get(cell, cell)


def test_navigate_files_are_official_and_reproducible(ogbench, tmp_path):
    name = "pointmaze-teleport-navigate-v0"
    path = collect(name, 2, tmp_path / "a", seed=0)
    np.random.seed(1)
    again = collect(name, 2, tmp_path / "b", seed=0)
    assert path.read_bytes() == again.read_bytes()
    validation = path.with_name(f"{name.removesuffix('.npz')}-val.npz")
    assert validation.read_bytes() != path.read_bytes()
    _, train, _ = ogbench.make_env_and_datasets(
        "pointmaze-teleport-navigate-singletask-v0", dataset_dir=str(path.parent)
    )
    assert train["observations"].shape == (2000, 2)
    with np.load(path) as file:
        assert {key: file[key].dtype.name for key in file.files} == {
            "observations": "float32", "actions": "float32", "terminals": "bool", "qpos": "float32",
            "qvel": "float32",
        }  # fmt: skip


def test_navigate_rows_are_states_and_the_pushes_in_them(ogbench):
    protocol = NavigateProtocol(find_task("ogbench/pointmaze-medium-navigate-singletask-v0"), steps=300)
    columns = protocol.episode(np.random.default_rng(0))
    # A step is 0.2 times the action unless a wall stops it.
    moves = np.diff(columns["observations"], axis=0)
    pushes = 0.2 * columns["actions"][:-1]
    assert np.median(np.abs(moves - pushes)) < 0.01
    np.testing.assert_array_equal(columns["observations"], columns["qpos"])


@pytest.mark.parametrize("name", ["cube-double-play", "scene-noisy", "puzzle-3x3-play"])
@pytest.mark.filterwarnings("ignore:.*precision lowered")
def test_manipulation_episodes_are_functions_of_their_seed(ogbench, name):
    protocol = ManipulationProtocol(find_task(f"ogbench/{name}-singletask-v0"), steps=60)
    first = protocol.episode(np.random.default_rng(0))
    other = protocol.episode(np.random.default_rng(1))
    again = protocol.episode(np.random.default_rng(0))
    for key, column in first.items():
        np.testing.assert_array_equal(column, again[key])
    assert np.any(first["observations"] != other["observations"])
    assert ("button_states" in first) == (not name.startswith("cube"))
    # The recorded positions are those that the observations show: the six joints of the arm.
    np.testing.assert_allclose(first["qpos"][:, :6], first["observations"][:, :6], atol=1e-6)
    assert np.abs(first["actions"]).max() <= 1
    assert first["terminals"].tolist() == [False] * 59 + [True]


def test_cube_play_moves_the_cube_and_is_what_ogbench_loads(ogbench, tmp_path):
    path = collect("cube-single-play-v0", 1, tmp_path, seed=0)
    name = "cube-single-play-singletask-task2-v0"
    environment, train, validation = ogbench.make_env_and_datasets(name, dataset_dir=str(tmp_path))
    data = load_dataset(find_task(f"ogbench/{name}"), path)
    np.testing.assert_array_equal(data.train.rewards, train["rewards"])
    np.testing.assert_array_equal(data.train.next_observations, train["next_observations"])
    assert data.validation is not None
    np.testing.assert_array_equal(data.validation.observations, validation["observations"])
    assert train["observations"].shape == (1000, *environment.observation_space.shape)
    with np.load(path) as file:
        cube = file["qpos"][:, 14:17]
    assert np.ptp(cube[:, :2], axis=0).max() > 0.05
    assert cube[:, 2].max() > 0.08


def test_what_cannot_be_collected(tmp_path):
    with pytest.raises(UserError, match=r"'cube-singl-play-v0' cannot .*Did you mean 'cube-single-play-v0'"):
        collect("cube-singl-play-v0", 1, tmp_path)
    with pytest.raises(UserError, match="'d4rl/hopper-medium-v2' cannot be collected"):
        collect("d4rl/hopper-medium-v2", 1, tmp_path)
    with pytest.raises(UserError, match="--episodes 0: at least one"):
        collect("pointmaze-umaze-v0", 0, tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=f"Cannot write {tmp_path}/file"):
        collect("pointmaze-umaze-v0", 1, tmp_path / "file")
    (tmp_path / "cube-single-play-v0-val.npz").write_text("of before")
    with pytest.raises(UserError, match=r"val\.npz is there already"):
        collect("cube-single-play-v0", 1, tmp_path)


def test_default_sizes_are_the_published_ones():
    for name, episodes in {"cube-triple-play": 3000, "puzzle-4x6-noisy": 5000, "scene-play": 1000}.items():
        task = find_task(f"ogbench/{name}-singletask-task3-v0")
        assert task.source.collection(task).episodes == episodes
