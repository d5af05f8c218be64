"""Loading by task: where files are looked for, what each source becomes."""

import shutil

import gymnasium
import minari
import numpy as np
import pytest

from tiltflow.data.arrays import write_hdf5, write_npz
from tiltflow.data.collect import collect
from tiltflow.data.formats import state_rows
from tiltflow.data.load import load_dataset
from tiltflow.data.transitions import Spec
from tiltflow.environments import import_robotics, make_environment
from tiltflow.errors import UserError
from tiltflow.tasks import find_task


def hopper(n, seed=0, **extra):
    random = np.random.default_rng(seed)
    observations = random.normal(size=(n + 1, 11)).astype(np.float32)
    return {
        "observations": observations[:-1],
        "next_observations": observations[1:],
        "actions": random.uniform(-1, 1, (n, 3)).astype(np.float32),
        "rewards": random.normal(size=n).astype(np.float32),
        "terminals": np.arange(n) % 10 == 9,
        "timeouts": np.zeros(n, bool),
        **extra,
    }


def same(data, other):
    for key, column in data.columns().items():
        np.testing.assert_array_equal(column, other.columns()[key])


@pytest.fixture(scope="module")
def navigate(ogbench, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ogbench")
    collect("pointmaze-medium-navigate-v0", 3, folder, seed=0)
    return folder


@pytest.mark.parametrize("name", ["hopper-medium-v2.hdf5", "hopper_medium-v2.hdf5", "hopper-medium-v2.npz"])
def test_a_folder_is_searched_for_the_name_of_the_data_set(tmp_path, monkeypatch, name):
    task = find_task("d4rl/hopper-medium-v2")
    (write_npz if name.endswith("npz") else write_hdf5)(tmp_path / name, hopper(30))
    by_folder = load_dataset(task, tmp_path)
    by_path = load_dataset(task, tmp_path / name)
    monkeypatch.setenv("TILTFLOW_DATA", str(tmp_path))
    by_default = load_dataset(task, None)
    for dataset in (by_path, by_default):
        same(dataset.train, by_folder.train)
        assert dataset.checksum == by_folder.checksum
        assert dataset.source == str(tmp_path / name)
    assert by_folder.validation is None
    np.testing.assert_array_equal(by_folder.train.rewards, hopper(30)["rewards"])


def test_missing_data_say_how_to_obtain_them(tmp_path, monkeypatch):
    monkeypatch.setenv("TILTFLOW_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UserError) as error:
        load_dataset(find_task("ogbench/cube-single-play-singletask-v0"), None)
    text = str(error.value)
    assert f"tiltflow data collect cube-single-play-v0 --out {tmp_path}/data" in text
    assert all(part in text for part in ("cube-single-play-v0.npz", "github.com/seohongpark", "--data"))
    with pytest.raises(UserError, match=r"hopper-medium-v2\.npz or \.hdf5 is not in .*\.d4rl/datasets"):
        load_dataset(find_task("d4rl/hopper-medium-v2"), None)
    write_hdf5(tmp_path / "hopper-medium-sac.hdf5", hopper(10))
    with pytest.raises(UserError, match="Did you mean 'hopper-medium-sac'"):
        load_dataset(find_task("d4rl/hopper-medium-v2"), tmp_path)


def test_the_checksum_is_of_the_values(tmp_path):
    task = find_task("d4rl/hopper-medium-v2")
    columns = hopper(30)
    write_npz(tmp_path / "a.npz", columns)
    write_hdf5(tmp_path / "b.hdf5", columns)
    columns["rewards"][3] += 1e-3
    write_npz(tmp_path / "c.npz", columns)
    a, b, c = (load_dataset(task, tmp_path / name).checksum for name in ("a.npz", "b.hdf5", "c.npz"))
    assert a == b != c


def test_medium_expert_takes_equal_counts_of_two_files(tmp_path):
    write_hdf5(tmp_path / "medium.hdf5", hopper(50, 1))
    write_hdf5(tmp_path / "expert.hdf5", hopper(25, 2))
    paths = tmp_path / f"medium.hdf5,{tmp_path}/expert.hdf5"
    both = load_dataset(find_task("d4rl/hopper-medium-expert-v2"), paths).train
    assert len(both) == 50
    np.testing.assert_array_equal(both.rewards[:25], hopper(50, 1)["rewards"][:25])
    np.testing.assert_array_equal(both.rewards[25:], hopper(25, 2)["rewards"])
    # Row 24 is cut in the middle of an episode.
    assert np.flatnonzero(both.ends).tolist() == [9, 19, 24, 34, 44, 49]
    assert not both.terminations[24]
    assert len(load_dataset(find_task("d4rl/hopper-medium-v2"), paths).train) == 75


def test_the_unused_contact_forces_of_ants_are_left_out(tmp_path):
    task = find_task("d4rl/ant-medium-v2")
    wide = np.zeros((20, 111), np.float32)
    wide[:, :27] = np.random.default_rng(0).normal(size=(20, 27))
    ants = {"observations": wide, "next_observations": wide, "actions": np.zeros((20, 8), np.float32)}
    write_hdf5(tmp_path / "ant.hdf5", hopper(20, **ants))
    dataset = load_dataset(task, tmp_path / "ant.hdf5")
    assert dataset.train.spec == Spec(27, 8)
    assert dataset.train.spec.observation_size == len(make_environment(task).reset(0))
    assert "84 of 111" in dataset.findings[0].text
    wide[3, 60] = 1.0
    write_hdf5(tmp_path / "ant.hdf5", hopper(20, **ants))
    assert load_dataset(task, tmp_path / "ant.hdf5").train.spec == Spec(111, 8)


@pytest.mark.parametrize("suffix", [".npz", ".hdf5"])
def test_own_data_come_back_as_they_were_saved(tmp_path, suffix):
    data = load_own(tmp_path, "first.npz", hopper(30))
    (write_npz if suffix == ".npz" else write_hdf5)(tmp_path / f"own{suffix}", data.columns())
    same(load_dataset(find_task("file/own"), tmp_path).train, data)


def load_own(folder, name, columns):
    write_npz(folder / name, columns)
    return load_dataset(find_task("file/own"), folder / name).train


def test_own_data_need_all_columns(tmp_path):
    columns = load_own(tmp_path, "first.npz", hopper(30)).columns()
    del columns["actions"]
    with pytest.raises(
        UserError, match=r"own\.npz, key 'actions': is missing. It holds observations \(30×11"
    ):
        load_own(tmp_path, "own.npz", columns)


def test_ogbenchs_states_are_own_data_without_rewards(tmp_path):
    states = {key: hopper(30)[key] for key in ("observations", "actions", "terminals")}
    write_npz(tmp_path / "own.npz", states | {"qpos": states["observations"]})
    assert not load_dataset(find_task("file/own"), tmp_path / "own.npz").rewarded


@pytest.mark.parametrize("task", ["task1", "task3"])
def test_ogbench_is_loaded_and_relabelled_as_the_ogbench_package_does(ogbench, navigate, task):
    name = f"pointmaze-medium-navigate-singletask-{task}-v0"
    _, *official = ogbench.make_env_and_datasets(name, dataset_dir=str(navigate))
    dataset = load_dataset(find_task(f"ogbench/{name}"), navigate)
    assert dataset.validation is not None
    for data, expected in zip((dataset.train, dataset.validation), official, strict=True):
        np.testing.assert_array_equal(data.observations, expected["observations"])
        np.testing.assert_array_equal(data.actions, expected["actions"])
        np.testing.assert_array_equal(data.next_observations, expected["next_observations"])
        np.testing.assert_array_equal(data.rewards, expected["rewards"])
        np.testing.assert_array_equal(data.terminations, expected["masks"] == 0)
        np.testing.assert_array_equal(data.ends, expected["terminals"] == 1)


def test_an_ogbench_file_with_the_rewards_of_the_task_is_loaded_as_they_are(navigate, tmp_path):
    task = find_task("ogbench/pointmaze-medium-navigate-singletask-task1-v0")
    whole = load_dataset(task, navigate)
    with np.load(navigate / "pointmaze-medium-navigate-v0.npz") as file:
        arrays = {key: file[key] for key in ("observations", "actions", "terminals")}
    rows = state_rows(arrays["terminals"])
    rewards = np.zeros(len(arrays["terminals"]), np.float32)
    terminations = np.zeros(len(rewards), bool)
    rewards[rows], terminations[rows] = whole.train.rewards, whole.train.terminations
    shutil.copytree(navigate, tmp_path / "both")
    file = tmp_path / "both" / "ogbench-pointmaze-medium-navigate-singletask-task1-v0.npz"
    write_npz(file, {**arrays, "rewards": rewards, "terminations": terminations})
    packed = load_dataset(task, tmp_path / "both")
    assert packed.source == str(file)
    assert packed.checksum == whole.checksum
    write_npz(file, {**arrays, "rewards": rewards - 1, "terminations": terminations})
    assert np.array_equal(load_dataset(task, tmp_path / "both").train.rewards, whole.train.rewards - 1)
    other = find_task("ogbench/pointmaze-medium-navigate-singletask-task2-v0")
    assert load_dataset(other, tmp_path / "both").source != str(file)


def test_ogbench_validation_is_optional_and_positions_are_not(navigate, tmp_path):
    task = find_task("ogbench/pointmaze-medium-navigate-singletask-task1-v0")
    with np.load(navigate / "pointmaze-medium-navigate-v0.npz") as file:
        columns = dict(file)
    write_npz(tmp_path / "mine.npz", columns)
    alone = load_dataset(task, tmp_path / "mine.npz")
    assert alone.validation is None
    # A validation part that comes later does not make other data of what was trained on.
    write_npz(tmp_path / "mine-val.npz", {key: column[:500] for key, column in columns.items()})
    both = load_dataset(task, tmp_path / "mine.npz")
    assert both.validation is not None
    assert both.checksum == alone.checksum
    del columns["qpos"]
    write_npz(tmp_path / "mine.npz", columns)
    with pytest.raises(UserError, match=r"mine\.npz, key 'qpos': is missing"):
        load_dataset(task, tmp_path / "mine.npz")


def test_ogbench_data_of_another_environment_are_refused(navigate):
    file = navigate / "pointmaze-medium-navigate-v0.npz"
    with pytest.raises(UserError, match=r"'observations': has 2 columns, but antmaze-medium.* observes 29"):
        load_dataset(find_task("ogbench/antmaze-medium-navigate-singletask-v0"), file)
    with pytest.raises(UserError, match="several files"):
        load_dataset(
            find_task("ogbench/antmaze-medium-navigate-singletask-v0"), navigate / f"{file.name},{file}"
        )


def record(name, dataset_id, episodes, steps):
    import_robotics()
    collector = minari.DataCollector(gymnasium.make(name, max_episode_steps=steps))
    for seed in range(episodes):
        collector.reset(seed=seed)
        collector.action_space.seed(seed)
        while not any(collector.step(collector.action_space.sample())[2:4]):
            pass
    collector.create_dataset(dataset_id, algorithm_name="random", author="a", author_email="a@b.c",
                             code_permalink="https://example.org")  # fmt: skip


@pytest.mark.parametrize(
    ("name", "dataset_id", "spec"),
    [("PointMaze_UMaze-v3", "own/pointmaze/umaze-v0", (8, 2)), ("Pendulum-v1", "own/swing-v0", (3, 1))],
)
@pytest.mark.filterwarnings("ignore")
def test_minari_data_and_environment_fit_each_other(tmp_path, monkeypatch, name, dataset_id, spec):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    record(name, dataset_id, episodes=3, steps=20)
    task = find_task(f"minari/{dataset_id}")
    data = load_dataset(task, None).train
    assert (len(data), data.spec) == (60, Spec(*spec))
    assert np.flatnonzero(data.ends).tolist() == [19, 39, 59]
    assert not data.terminations.any()
    monkeypatch.delenv("MINARI_DATASETS_PATH")
    same(load_dataset(task, tmp_path / dataset_id).train, data)
    same(load_dataset(task, tmp_path).train, data)
    # The recovered environment, given the recorded actions, goes the recorded way.
    environment = make_environment(task, tmp_path)
    for episode in range(3):
        rows = slice(20 * episode, 20 * episode + 20)
        np.testing.assert_array_equal(environment.reset(episode), data.observations[rows][0])
        for action, expected, reward in zip(
            data.actions[rows], data.next_observations[rows], data.rewards[rows], strict=True
        ):
            observation, got, *_, truncated, _ = environment.step(action)
            np.testing.assert_allclose(observation, expected, rtol=1e-4, atol=1e-5)
            assert got == pytest.approx(reward, rel=1e-4, abs=1e-5)
        assert truncated


@pytest.mark.filterwarnings("ignore")
def test_minari_data_of_discrete_actions_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    record("CartPole-v1", "own/pole-v0", episodes=1, steps=5)
    with pytest.raises(UserError, match=r"'action_space': is Discrete\(2\); only continuous actions"):
        load_dataset(find_task("minari/own/pole-v0"), None)


def test_a_minari_data_set_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match="minari download D4RL/door/human-v2"):
        load_dataset(find_task("minari/D4RL/door/human-v2"), tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/metadata.json").write_text("{}")
    with pytest.raises(UserError, match="cannot be opened"):
        load_dataset(find_task("minari/D4RL/door/human-v2"), tmp_path)
