"""A user's own logs: any names, any units, any of the formats; official files by the official packages."""

from pathlib import Path

import gymnasium
import h5py
import minari
import numpy as np
import pytest
from official_episodes import CAMERA, episodes

from tiltflow.cli import data as verb
from tiltflow.data import csv_log
from tiltflow.data.column_file import stored_choice
from tiltflow.data.columns import column_choice
from tiltflow.data.describe import describe_path
from tiltflow.data.interface import PolicyInterface, Signal, plain_interface, stored_interface
from tiltflow.data.load import audit_path, load_dataset
from tiltflow.data.transitions import Spec
from tiltflow.environments import make_environment
from tiltflow.errors import UserError
from tiltflow.tasks import find_task

OFFICIAL = Path(__file__).parent / "official"
TASK = find_task("file/arm", "Pendulum-v1")
NAMES = "observations=joint_*,actions=torque_0+torque_1,rewards=score"
CHOICE = column_choice(NAMES, None, None)


def rows(count=30, seed=0):
    """One episode of three joints, two torques in [−2, 2] and a score."""
    random = np.random.default_rng(seed)
    return {
        "joints": random.normal(size=(count, 3)).round(4),
        "torques": random.uniform(-2, 2, (count, 2)).round(4),
        "score": random.integers(0, 5, count),
    }


def write_csv(path, episode, **more):
    names = ["joint_0", "joint_1", "joint_2", "torque_0", "torque_1", "score", *more]
    columns = [*episode["joints"].T, *episode["torques"].T, episode["score"], *more.values()]
    lines = [",".join(map(str, row)) for row in zip(*columns, strict=True)]
    path.write_text("\n".join([",".join(names), *lines]) + "\n")


def load(path, columns=None, reward=None, bounds=None):
    return load_dataset(TASK, path, column_choice(columns, reward, bounds))


def texts(findings, level="warning"):
    return [finding.text for finding in findings if finding.level == level]


@pytest.fixture
def folder(tmp_path):
    """Eleven CSV files, of which the tenth must not come after the first."""
    for number in range(11):
        write_csv(tmp_path / f"episode_{number}.csv", rows(30, seed=number))
    return tmp_path


def test_a_folder_of_csv_files_is_one_episode_each_in_the_users_units(folder):
    dataset = load(folder, NAMES, bounds="-2 2")
    data, expected = dataset.train, [rows(30, seed=number) for number in range(11)]
    assert len(data) == 11 * 29  # the last rows have no successor
    assert np.flatnonzero(data.ends).tolist() == [29 * number + 28 for number in range(11)]
    np.testing.assert_array_equal(data.observations[29:58], expected[1]["joints"][:-1].astype(np.float32))
    np.testing.assert_array_equal(data.next_observations[29:58], expected[1]["joints"][1:].astype(np.float32))
    for number in range(11):
        of_file = slice(29 * number, 29 * number + 29)
        np.testing.assert_array_equal(data.rewards[of_file], expected[number]["score"][:-1])
    np.testing.assert_allclose(data.actions[29:58], expected[1]["torques"][:-1] / 2, atol=1e-6)
    own = dataset.interface.own_units(data.actions[29:58])
    np.testing.assert_allclose(own, expected[1]["torques"][:-1], atol=1e-6)
    assert [signal.name for signal in dataset.interface.observations] == ["joint_0", "joint_1", "joint_2"]
    assert dataset.interface.bounds == ((-2.0, -2.0), (2.0, 2.0))
    assert not texts(dataset.findings)
    described = [dict(lines) for _, lines in describe_path(folder, column_choice(NAMES, None, "-2 2"))]
    assert [one["action bounds"] for one in described] == ["-2 to 2 in the data, here −1 to 1"]
    by_pattern = load(folder / "episode_*.csv", NAMES, bounds="-2 2")
    assert by_pattern.checksum == dataset.checksum


def test_csv_reads_the_same_with_numpy_alone(folder, monkeypatch):
    write_csv(folder / "episode_0.csv", rows(30), good=["true", "False", *[""] * 28])
    choice = NAMES + ",observations=joint_*+good"
    with_arrow = [str(finding) for finding in audit_path(folder, column_choice(choice, None, None))]
    dataset = load(folder, NAMES)
    monkeypatch.setattr(csv_log, "find_spec", lambda package: None)
    assert load(folder, NAMES).checksum == dataset.checksum
    assert [str(finding) for finding in audit_path(folder, column_choice(choice, None, None))] == with_arrow
    assert "row 2: is nan (28 such rows)" in "".join(with_arrow)


@pytest.mark.parametrize("package", ["pyarrow", "numpy"])
def test_semicolons_and_decimal_commas_are_read_as_numbers(folder, package, monkeypatch, capsys):
    expected = load(folder, NAMES).checksum
    if package == "numpy":
        monkeypatch.setattr(csv_log, "find_spec", lambda package: None)
    for file in folder.iterdir():
        file.write_text(file.read_text().replace(",", ";").replace(".", ","))
    assert load(folder, NAMES).checksum == expected
    verb.parse(["describe", str(folder), "--columns", NAMES]).run()
    assert "joint_0   number with a decimal comma  observations" in capsys.readouterr().out
    (folder / "episode_3.csv").write_text((folder / "episode_3.csv").read_text() + "0,5;1;1.5;1;1;1\n")
    with pytest.raises(UserError, match=r"episode_3\.csv, key .*'1.5', not numbers alone"):
        load(folder, NAMES)


def test_folders_below_are_named_by_a_pattern_and_share_what_is_said_of_columns(
    tmp_path, monkeypatch, capsys
):
    for number in range(4):
        (tmp_path / f"logs/day_{number}").mkdir(parents=True)
        write_csv(tmp_path / f"logs/day_{number}" / "run.csv", rows(30, seed=number))
    (tmp_path / "logs/day_0/notes.json").write_text("{}")
    for refused in (
        lambda: load(tmp_path / "logs"),
        lambda: verb.parse(["describe", f"{tmp_path}/logs"]).run(),
    ):
        with pytest.raises(
            UserError, match=r'4 files in folders below .* are not read; ".*/logs/\*\*/\*" names'
        ):
            refused()
    monkeypatch.chdir(tmp_path)
    verb.parse(["describe", "logs/**/*", "--columns", NAMES, "--action-bounds", "-2", "2", "--write"]).run()
    assert f"written: {tmp_path}/logs/columns.toml" in capsys.readouterr().out
    dataset = load(Path("logs/**"))
    assert len(dataset.train) == 4 * 29
    assert dataset.interface.bounds == ((-2.0, -2.0), (2.0, 2.0))
    assert load(Path("logs/*/run.csv")).checksum == dataset.checksum
    write_csv(tmp_path / "logs/new.csv", rows(30, seed=9))
    assert any("4 files in folders below logs" in text for text in texts(load(Path("logs")).findings, "note"))


def test_a_column_has_one_role(folder):
    for columns, reward in (
        ("observations=joint_0,actions=joint_0", None),
        ("observations=joint_*,actions=torque_*+joint_2", None),
        ("observations=joint_*,actions=torque_*,rewards=torque_0", None),
        ("observations=joint_*,actions=torque_*", "torque_0"),
        ("observations=joint_*,actions=torque_*,terminations=score,truncations=score", None),
    ):
        with pytest.raises(UserError, match=r"'(joint_0|joint_2|torque_0|score)' is said to be the \w+ too"):
            load(folder, columns, reward)
    (folder / "columns.toml").write_text('observations = ["joint_0"]\nactions = ["joint_0"]\n')
    with pytest.raises(UserError, match="'joint_0' is said to be the observations too"):
        load(folder)
    with pytest.raises(UserError, match="'joint_0' is said to be the observations too"):
        verb.parse(["describe", str(folder)]).run()
    (folder / "columns.toml").unlink()
    load(folder, "observations=joint_*,actions=torque_*,rewards=joint_0,time=joint_1")  # a state may be these


def test_actions_that_the_observations_have_under_another_name_are_warned_of(folder):
    for number in range(11):
        episode = rows(30, seed=number)
        half = np.where(np.arange(30) % 2, episode["torques"][:, 0], 0)
        write_csv(folder / f"episode_{number}.csv", episode, half=half, command=episode["torques"][:, 1])
    (said,) = texts(load(folder, f"{NAMES},observations=joint_*+half+command", bounds="-2 2").findings)
    assert said.startswith("entry 1 (torque_1) is entry 4 (command) of the observations in every row")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1,2\n3,4\n", "line 1, must name the columns"),
        ("a,a\n3,4\n", "two columns have the same name"),
        ("obs_0,action_0\n1,pick\n", "'action_0' holds 'pick', not numbers alone"),
        ("obs_0,action_0\n1,2\n1,pick\n", "'action_0' holds 'pick', not numbers alone"),
        ("obs_0,action_0\n" + 100 * "1,2\n" + "1,pick\n", "cannot be read as numbers"),
        ('obs_0,action_0\n"1,5",2\n', "'obs_0' holds '1,5'.* Decimal commas are read between semicolons"),
        ("obs_0,action_0\n1,5,2,0\n", "line 2, has 4 cells between commas, but line 1 names 2 columns"),
        ("obs_0,action_0\n", "no rows|is missing"),
        ("obs_0;action_0\n1;2\n1\n", "cannot be read as numbers"),
    ],
)
def test_csv_that_cannot_be_used_is_named(tmp_path, text, says):
    (tmp_path / "arm.csv").write_text(text)
    with pytest.raises(UserError, match=rf"arm\.csv.*({says})"):
        load(tmp_path / "arm.csv")


@pytest.mark.parametrize("version", ["lerobot-v2", "lerobot-v3"])
def test_lerobots_own_files_are_read(version):
    dataset = load(OFFICIAL / version, bounds="-2 2")
    data, expected = dataset.train, episodes()
    joined = {key: np.concatenate([episode[key] for episode in expected]) for key in expected[0]}
    states = np.hstack([joined["observation.state"], joined["observation.environment_state"]])
    np.testing.assert_array_equal(data.observations, states)
    np.testing.assert_allclose(dataset.interface.own_units(data.actions), joined["action"], atol=1e-6)
    np.testing.assert_array_equal(data.rewards, joined["next.reward"])
    np.testing.assert_array_equal(data.terminations, joined["next.done"])
    np.testing.assert_array_equal(data.ends, joined["next.done"])
    inside = ~data.ends
    np.testing.assert_array_equal(data.next_observations[inside], states[1:][inside[:-1]])
    np.testing.assert_array_equal(data.next_observations[~inside], states[~inside])
    state, _ = dataset.interface.observations
    assert (state.name, state.entries) == ("observation.state", ("x", "y", "vx", "vy"))
    assert any(CAMERA in text and "images" in text for text in texts(dataset.findings, "note"))
    as_limits = load(OFFICIAL / version, "ends=next.done", reward="success").train
    assert as_limits.terminations.sum() == 2 == as_limits.rewards.sum()
    assert len(as_limits) == len(data) - 1  # the second episode, which fails, ends by a time limit


def test_robomimics_own_file_is_read():
    dataset = load(OFFICIAL / "robomimic.hdf5", bounds="-2 2")
    data, expected = dataset.train, episodes()
    actions = np.concatenate([episode["action"] for episode in expected])
    np.testing.assert_allclose(dataset.interface.own_units(data.actions), actions, atol=1e-6)
    assert np.flatnonzero(data.ends).tolist() == [4, 10, 17]
    np.testing.assert_array_equal(data.rewards, data.ends)
    inside = ~data.ends
    np.testing.assert_array_equal(data.next_observations[inside], data.observations[1:][inside[:-1]])
    assert [signal[:2] for signal in dataset.interface.observations] == [("obs/flat", 6)]


def test_groups_of_observations_are_joined_in_the_order_that_is_asked_for(tmp_path):
    with h5py.File(tmp_path / "arm.hdf5", "w") as file:
        for number in (10, 9):  # read in the order of their numbers
            group = file.create_group(f"data/demo_{number}")
            group["obs/grip"], group["obs/pos"] = np.full(4, number, np.float32), np.ones((4, 2), np.float32)
            group["next_obs/grip"], group["next_obs/pos"] = np.zeros((4, 1)), np.ones((4, 2))
            group["obs/camera"] = np.zeros((4, 8, 8, 3), np.uint8)
            group["actions"] = np.linspace(-1, 1, 4, dtype=np.float32)[:, None]
        file["data"].attrs["action_low"], file["data"].attrs["action_high"] = -4.0, [4.0]
    dataset = load(tmp_path / "arm.hdf5", "observations=obs/pos+obs/grip")
    assert [signal[:2] for signal in dataset.interface.observations] == [("obs/pos", 2), ("obs/grip", 1)]
    assert dataset.train.observations[[0, 4], 2].tolist() == [9, 10]
    assert dataset.train.next_observations[0].tolist() == [1, 1, 0]
    assert (dataset.interface.bounds, dataset.train.actions.max()) == (((-4.0,), (4.0,)), 0.25)
    assert not dataset.rewarded
    np.testing.assert_array_equal(
        dataset.interface.join({"obs/grip": 3.0, "obs/pos": [1.0, 2.0]}), np.float32([1, 2, 3])
    )
    with pytest.raises(UserError, match=r"no 'obs/grip'. It is made of obs/pos \[2\], obs/grip \[1\]"):
        dataset.interface.join({"obs/pos": [1.0, 2.0]})
    with pytest.raises(UserError, match=r"images are not read"):
        load(tmp_path / "arm.hdf5", "observations=obs/camera")


def test_an_observation_by_column_is_one_or_several_and_otherwise_refused():
    interface = PolicyInterface((Signal("pos", 2), Signal("grip", 1)), (Signal("a", 1),))
    for grip in ([3.0], [[3.0]]):  # one number a row, with one row as with two
        np.testing.assert_array_equal(interface.join({"pos": [[1.0, 2.0]], "grip": grip}), [[1, 2, 3]])
    np.testing.assert_array_equal(
        interface.join({"pos": [[1.0, 2.0]] * 2, "grip": [3.0, 4.0]}), [[1, 2, 3], [1, 2, 4]]
    )
    np.testing.assert_array_equal(interface.join({"pos": [1.0, 2.0], "grip": [3.0]}), [1, 2, 3])
    with pytest.raises(UserError, match="'pos' has 1 entries; the policy was trained on 2"):
        interface.join({"pos": 1.0, "grip": 3.0})


def test_one_observation_more_than_actions_supplies_the_successors(tmp_path):
    np.savez(tmp_path / "arm.npz", obs=np.arange(6.0)[:, None], act=np.zeros((5, 1)), dones=np.eye(5)[4])
    data = load(tmp_path / "arm.npz").train
    assert data.next_observations[:, 0].tolist() == [1, 2, 3, 4, 5]
    assert data.terminations.tolist() == [False] * 4 + [True]


FIRST, SECOND = np.eye(10)[3], np.eye(10)[6]
ENDS = {
    "numbers": {"episode_id": [7, 7, 7, 7, 2, 2, 2, 3, 3, 3]},
    "lengths": {"episode_lengths": [4, 3, 3]},
    "where they end": {"episode_ends": [4, 7, 10]},
    "limits": {"truncated": [0, 0, 0, 1, 0, 0, 1, 0, 0, 1]},
    "both flags": {"terminated": FIRST > 0, "truncations": SECOND},
    "dones and limits": {"done": FIRST + SECOND, "truncated": SECOND},
    "masks and ends": {"masks": 1 - FIRST, "ends": (FIRST + SECOND)[:, None]},
}


@pytest.mark.parametrize("how", ENDS)
def test_episodes_end_where_the_log_says_in_any_of_the_ways(tmp_path, how):
    flags = {key: np.array(value) for key, value in ENDS[how].items()}
    columns = {"obs": np.arange(10.0)[:, None], "act": np.zeros((10, 1)), "r": np.arange(10)[:, None]}
    np.savez(tmp_path / "a.npz", **columns, **flags)
    data = load(tmp_path / "a.npz", "rewards=r").train
    true = bool({"terminated", "masks", "done"} & flags.keys())
    assert data.observations[data.ends, 0].tolist() == [3 if true else 2, 5, 8]
    assert np.flatnonzero(data.terminations).tolist() == ([3] if true else [])
    assert data.rewards.dtype == np.float32


def test_what_cannot_be_an_end_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", obs=np.zeros((9, 1)), act=np.zeros((9, 1)), steps=np.array([4, 4]))
    with pytest.raises(UserError, match=r"'steps'.*2 values for 9 rows"):
        load(tmp_path / "a.npz", "episode=steps")
    np.savez(tmp_path / "a.npz", obs=np.zeros((9, 1)), act=np.zeros((9, 1)), done=np.arange(9))
    with pytest.raises(UserError, match=r"'done': is 2 in row 2"):
        load(tmp_path / "a.npz")


def test_a_goal_may_stand_for_rewards(tmp_path):
    columns = {"obs": np.arange(8.0)[:, None], "act": np.zeros((8, 1)), "distance": np.arange(8) % 4,
               "episode": np.arange(8) // 4}  # fmt: skip
    np.savez(tmp_path / "each.npz", **columns, success=np.array([True, False]))
    data = load(tmp_path / "each.npz", reward="success").train
    assert data.rewards.tolist() == [0, 0, 0, 1, 0, 0, 0]  # the episode that fails loses its last row
    np.testing.assert_array_equal(data.terminations, data.rewards)
    near = load(tmp_path / "each.npz", reward="distance >= 3").train
    assert near.rewards.tolist() == [0, 0, 0, 1, 0, 0, 0, 1]
    assert load(tmp_path / "each.npz", reward="distance").train.rewards.tolist() == [0, 1, 2, 0, 1, 2]
    with pytest.raises(UserError, match=r"--reward height>1 names no column. It holds obs \(8×1 float64\)"):
        load(tmp_path / "each.npz", reward="height>1")


def test_the_choice_is_kept_beside_the_data_and_the_command_line_comes_first(folder, capsys):
    arguments = ["describe", str(folder), "--columns", NAMES, "--action-bounds", "-2,-3", "2,3", "--write"]
    verb.parse(arguments).run()
    text = capsys.readouterr().out
    assert "torque_0  number  actions" in text
    assert f"written: {folder / 'columns.toml'}" in text
    assert stored_choice(folder / "episode_0.csv").bounds == ((-2.0, -3.0), (2.0, 3.0))
    dataset = load(folder)
    assert dataset.checksum == load(folder, NAMES, bounds="-2,-3 2,3").checksum
    assert load(folder, "rewards=joint_0", bounds="-5 5").interface.bounds == ((-5.0, -5.0), (5.0, 5.0))
    with pytest.raises(UserError, match="says something else"):
        verb.parse([*arguments[:-3], "-5", "5", "--write"]).run()
    (folder / "columns.toml").write_text('observed = ["joint_0"]\n')
    with pytest.raises(
        UserError, match=r"columns\.toml: 'observed' is nothing .* Did you mean 'observations'"
    ):
        load(folder)


def test_describe_guesses_by_names_and_shapes_and_says_what_it_cannot(tmp_path, capsys):
    np.savez(tmp_path / "a.npz", x=np.zeros((9, 5)), u=np.zeros((9, 2)), cost=np.zeros(9))
    verb.parse(["describe", str(tmp_path / "a.npz")]).run()
    text = capsys.readouterr().out
    assert 'observations = ["x"]\nactions = ["u"]' in text
    for open_question in ("no rewards", "where episodes end", "no bounds", "Say it with --columns"):
        assert open_question in text
    with pytest.raises(
        UserError, match=r"'actions': is missing. It holds x \(9×5 float64\), u \(9×2 float64\)"
    ):
        load(tmp_path / "a.npz", "observations=x")


@pytest.mark.parametrize(
    ("columns", "bounds", "says"),
    [
        ("observations", None, "no ROLE=COLUMN"),
        ("angle=x", None, "nothing that a column can be"),
        (None, "-2", "lowest and the highest"),
        (None, "2 -2", "below the highest"),
        (None, "-1,-1 1,1,1", "as many of both"),
        (None, "low high", "no numbers"),
    ],
)
def test_options_that_say_nothing_are_refused(columns, bounds, says):
    with pytest.raises(UserError, match=says):
        column_choice(columns, None, bounds)


def test_bounds_that_do_not_hold_the_data_or_are_of_another_size_are_errors(folder):
    with pytest.raises(
        UserError, match=r"row \d+: entry [01] \(torque_[01]\) is .*, outside the bounds given, -1 to 1"
    ):
        load(folder, NAMES, bounds="-1 1")
    with pytest.raises(UserError, match=r"has 2 entries, but the bounds given are for 3 and 3"):
        load(folder, NAMES, bounds="-2,-2,-2 2,2,2")
    (said,) = texts(load(folder, NAMES).findings)
    assert "taken from the data" in said
    with pytest.raises(UserError, match=r"data of your own, file/NAME, not for pointmaze/umaze-v0"):
        load_dataset(find_task("pointmaze/umaze-v0"), folder, column_choice(None, None, "-2 2"))


def test_the_audit_knows_what_is_odd_in_logs_and_in_which_file(folder):
    time = np.arange(30.0)
    for number in range(11):
        write_csv(folder / f"episode_{number}.csv", rows(30, seed=number), t=time, still=np.ones(30))
    time[20:] += 9
    write_csv(folder / "episode_3.csv", rows(30, seed=2), t=time, still=np.ones(30))
    choice = column_choice(f"{NAMES},observations=joint_*+still", None, "-50,-2 50,2")
    found = [finding for finding in audit_path(folder, choice) if finding.level != "note"]
    said = {finding.key: str(finding) for finding in found}
    assert "entry 3 (still) never changes" in said["observations"]
    assert "entry 0 (torque_0) fills 4 % of the range" in said["actions"]
    assert "episode_3.csv, key 'time', row 19: jumps by 10 to the next row, where 1 is usual" in said["time"]
    assert f"episode_3.csv, episode 0: the same as {folder}/episode_2.csv, episode 0" in said[None]
    assert len(found) == 4
    write_csv(folder / "episode_5.csv", rows(30) | {"joints": np.full((30, 3), np.nan)})
    assert "episode_5.csv" in str(next(f for f in audit_path(folder, choice) if f.level == "error"))


def test_files_that_do_not_go_together_are_named(folder):
    write_csv(folder / "episode_4.csv", rows(30), joint_9=np.zeros(30))
    with pytest.raises(
        UserError, match=r"episode_4\.csv, key 'observations': is joint_0.*joint_9 \[1\], but"
    ):
        load(folder, NAMES)
    (difference,) = [finding for finding in audit_path(folder / "*.csv", CHOICE) if finding.level == "error"]
    assert difference.file.endswith("episode_4.csv")
    assert "checked one by one" in audit_path(folder, CHOICE)[-1].text
    for number, low in enumerate((-2.0, -3.0)):
        columns = {"obs": np.arange(9.0)[:, None] + number, "act": np.linspace(-2, 2, 9)[:, None]}
        np.savez(folder / f"{number}.npz", **columns, action_low=low, action_high=2.0)
    with pytest.raises(UserError, match=r"1\.npz, key 'action_low': .*not those of .*0\.npz"):
        load(folder / "*.npz")
    assert load(folder / "*.npz", bounds="-4 4").interface.bounds == ((-4.0,), (4.0,))


def test_a_simulator_gets_its_own_units(tmp_path):
    """Data that use half of the pendulum's torques: ±1 inside is ±1 there, not its own ±2."""
    environment, other = (make_environment(TASK, None, bounds) for bounds in (((-1.0,), (1.0,)), None))
    for each, action in ((environment, 1.0), (other, 0.5)):
        each.reset(0)
        each.seen = each.step(np.array([action]))[0]
    np.testing.assert_array_equal(environment.seen, other.seen)
    far = make_environment(TASK, None, ((-100.0,), (100.0,)))
    for each in (far, other):
        each.reset(0)
        each.seen = each.step(np.array([1.0]))[0]
    np.testing.assert_array_equal(far.seen, other.seen)
    with pytest.raises(UserError, match="actions of 2 entries"):
        make_environment(TASK, None, ((-1.0, -1.0), (1.0, 1.0)))


def test_the_interface_of_a_run_is_stored_and_older_runs_have_a_plain_one(folder):
    interface = load(folder, NAMES, bounds="-2 2").interface
    spec = Spec(3, 2)
    assert stored_interface({"interface": interface.record()}, spec, "environment.json") == interface
    assert stored_interface({}, spec, "environment.json") == plain_interface(spec)
    for damage in ({"action_low": [1.0]}, {"actions": []}, {"observations": 3}):
        with pytest.raises(UserError, match=r"environment\.json is damaged"):
            stored_interface({"interface": interface.record() | damage}, spec, "environment.json")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("high", [2.0, np.inf])
def test_minari_without_an_environment(tmp_path, monkeypatch, high):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    random = np.random.default_rng(0)
    buffers = [
        minari.data_collector.EpisodeBuffer(
            id=number, observations=random.normal(size=(6, 3)).astype(np.float32),
            actions=random.uniform(-2, 2, (5, 2)).astype(np.float32), rewards=[1.0] * 5,
            terminations=[False] * 5, truncations=[False] * 4 + [True],
        )
        for number in range(2)
    ]  # fmt: skip
    minari.create_dataset_from_buffers(
        "own/log-v0", buffers, observation_space=gymnasium.spaces.Box(-np.inf, np.inf, (3,)),
        action_space=gymnasium.spaces.Box(-high, high, (2,)),
    )  # fmt: skip
    dataset = load(tmp_path / "own/log-v0")
    assert len(dataset.train) == 10
    actions = np.concatenate([buffer.actions for buffer in buffers])
    np.testing.assert_allclose(dataset.interface.own_units(dataset.train.actions), actions, atol=1e-6)
    assert (dataset.interface.bounds == ((-2.0, -2.0), (2.0, 2.0))) == np.isfinite(high)
    if np.isfinite(high):
        with pytest.raises(UserError, match="says itself what its columns and bounds are"):
            load(tmp_path / "own/log-v0", bounds="-3 3")
        by_id = load_dataset(find_task("minari/own/log-v0"), None)
        assert by_id.checksum == dataset.checksum


def test_parquet_vectors_and_its_faults(tmp_path):
    import pyarrow
    from pyarrow import parquet

    table = pyarrow.table({
        "obs": [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], "act.x": [0.5, -0.5, 0.0], "act.y": [1, 0, 0],
        "name": ["a", "b", "c"], "bad": [[1.0], [1.0, 2.0], [1.0]],
    })  # fmt: skip
    parquet.write_table(table, tmp_path / "a.parquet")
    data = load(tmp_path / "a.parquet", "actions=act.x").train
    assert data.observations.tolist() == [[1, 2], [3, 4]]
    for columns, says in (("actions=name", "not numbers"), ("actions=bad", "1 to 2 numbers")):
        with pytest.raises(UserError, match=says):
            load(tmp_path / "a.parquet", columns)
    whole = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(whole[:-60])
    with pytest.raises(UserError, match=r"a\.parquet.*(cut off or damaged)"):
        load(tmp_path / "a.parquet")
    large = dict.fromkeys(("obs", "act"), np.zeros(2 * 10**7, np.int8))
    parquet.write_table(pyarrow.table(large), tmp_path / "a.parquet")
    with pytest.raises(UserError, match=r"declares 320\.0 MB and is a file of"):
        load(tmp_path / "a.parquet", "actions=act,observations=obs")


def test_groups_that_lead_out_of_an_hdf5_file_or_hold_each_other_are_not_followed(tmp_path):
    with h5py.File(tmp_path / "secret.hdf5", "w") as file:
        file["x"] = np.ones((4, 3))
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        group = file.create_group("demo_0")
        group["actions"] = np.zeros((4, 1), np.float32)
        group["obs"] = h5py.ExternalLink(str(tmp_path / "secret.hdf5"), "/x")
        group["again"] = group
    with pytest.raises(UserError, match=r"'observations': is missing. It holds actions \(4×1 float32\)"):
        load(tmp_path / "a.hdf5")
    with h5py.File(tmp_path / "a.hdf5", "a") as file:
        del file["demo_0/obs"]
        file.create_dataset("demo_0/obs", (10**8, 8), "f4", chunks=(1000, 8), fillvalue=1.0)
    with pytest.raises(UserError, match=r"declares 3\.2 GB"):
        load(tmp_path / "a.hdf5")
