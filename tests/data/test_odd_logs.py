"""Logs that say a thing twice, or not quite: each is read as it is meant, or refused by file and key."""

import re
import shutil
from decimal import Decimal
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.testing import assert_array_equal

from tiltflow.data import csv_log, row_pieces
from tiltflow.data.column_file import choice_text, stored_choice
from tiltflow.data.columns import ColumnChoice, column_choice
from tiltflow.data.interface import PolicyInterface, Signal, stored_interface
from tiltflow.data.load import load_dataset
from tiltflow.data.recorded_arrays import RecordedArrays
from tiltflow.data.shard import shard
from tiltflow.errors import UserError
from tiltflow.tasks import find_task

OFFICIAL = Path(__file__).parent / "official" / "lerobot-v2"
TASK = find_task("file/arm", "Pendulum-v1")
NUMBERS = np.arange(6.0)
ENDS = np.array([0, 0, 1, 0, 0, 1])
LOG = {"obs": NUMBERS[:, None], "action": NUMBERS / 6, "reward": NUMBERS, "truncated": ENDS}
D4RL = {"observations": NUMBERS[:, None], "actions": NUMBERS[:, None] / 6, "rewards": NUMBERS}


def load(path, columns=None, reward=None):
    return load_dataset(TASK, Path(path), column_choice(columns, reward, None))


def of_arrays(folder, arrays, **choice):
    np.savez(folder / "log.npz", **arrays)
    return load(folder / "log.npz", **choice)


def test_one_observation_more_than_actions_is_no_successor_across_an_episodes_end(tmp_path):
    data = of_arrays(tmp_path, {**LOG, "obs": np.arange(7.0)[:, None]}).train
    assert_array_equal(data.observations[:, 0], [0, 1, 3, 4])
    assert_array_equal(data.next_observations[:, 0], [1, 2, 4, 5])
    one = of_arrays(tmp_path, {**LOG, "obs": np.arange(7.0)[:, None], "truncated": NUMBERS == 5}).train
    assert_array_equal(one.next_observations[:, 0], NUMBERS + 1)


def test_groups_of_one_number_and_several_names_are_all_read(tmp_path):
    with h5py.File(tmp_path / "log.hdf5", "w") as file:
        for start, name in ((0, "train_0"), (3, "test_0"), (6, "train_10"), (9, "train_2"), (12, "test_1")):
            file[f"{name}/obs"] = np.arange(start, start + 3.0)[:, None]
            file[f"{name}/actions"] = np.arange(start, start + 3.0)[:, None] / 15
    assert_array_equal(
        load(tmp_path / "log.hdf5").train.observations[:, 0], [3, 4, 12, 13, 0, 1, 9, 10, 6, 7]
    )


def test_episodes_without_any_row_are_refused(tmp_path):
    with h5py.File(tmp_path / "log.hdf5", "w") as file:
        for name in ("demo_0", "demo_1"):
            file[f"{name}/obs"] = file[f"{name}/actions"] = np.zeros((0, 2))
    with pytest.raises(UserError, match=r"log\.hdf5, key 'observations': holds no rows"):
        load(tmp_path / "log.hdf5")


def of_groups(path, lengths, **more):
    """An HDF5 file of episodes of these lengths; `more` gives further columns by the episode's number."""
    with h5py.File(path, "w") as file:
        for number, length in enumerate(lengths):
            rows = np.arange(float(length))
            columns = {"obs": rows[:, None] + 10 * number, "actions": rows / 5, "rewards": rows}
            for name, column in (columns | {name: of[number] for name, of in more.items()}).items():
                file[f"demo_{number}/{name}"] = column
    return path


def test_one_flag_an_episode_is_for_its_last_row(tmp_path):
    flags = {"terminated": [True, False, False], "truncated": [False, True, True]}
    data = load(of_groups(tmp_path / "log.hdf5", (3, 0, 2), **flags)).train
    assert_array_equal(data.terminations, [False, False, True, False])
    masks = load(of_groups(tmp_path / "masks.hdf5", (3, 0, 2), mask=[0, 1, 1])).train
    assert_array_equal(masks.terminations, data.terminations)
    with pytest.raises(UserError, match="key 'terminated': is 2 in row 1"):
        load(of_groups(tmp_path / "log.hdf5", (3, 2), terminated=[0, 2]))
    with pytest.raises(UserError, match="key 'done': has 3 rows, but 'actions' has 6"):
        of_arrays(tmp_path, {**LOG, "done": np.zeros(3)})


@pytest.mark.parametrize("name", ["rewards", "next_obs", "obs", "dones"])
def test_episodes_that_only_together_have_the_rows_of_the_actions_are_refused(tmp_path, name):
    column = [np.zeros((2, 1)), np.zeros((3, 1))]
    with pytest.raises(UserError, match=f"key '{name}': has 2 rows in episode 0, where the actions have 3"):
        load(of_groups(tmp_path / "log.hdf5", (3, 2), **{name: column}))


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"terminations": NUMBERS == 5}, "key 'terminations', row 2: is not what 'terminals'"),
        ({"terminations": ENDS, "ends": NUMBERS == 1}, "key 'ends', row 1: is not what 'terminals'"),
        ({"terminations": ENDS, "ends": NUMBERS == 2}, ""),
    ],
)
def test_flags_beside_those_of_d4rl_must_not_contradict_them(tmp_path, more, says):
    arrays = {**D4RL, "terminals": ENDS, **more}
    if not says:
        assert_array_equal(of_arrays(tmp_path, arrays).train.terminations, ENDS)
        return
    with pytest.raises(UserError, match=says):
        of_arrays(tmp_path, arrays)
    ends = more.get("ends", ENDS)
    columns = f"terminations=terminations,ends={'ends' if 'ends' in more else 'terminals'}"
    said = of_arrays(tmp_path, {**arrays, "next_observations": D4RL["observations"]}, columns=columns).train
    assert_array_equal(said.ends, ends | (NUMBERS == 5))
    assert_array_equal(said.terminations, more["terminations"])


def test_a_goal_that_a_row_says_nothing_of_is_refused(tmp_path):
    gap = np.where(NUMBERS == 3, np.nan, NUMBERS)
    with pytest.raises(UserError, match="key 'gap': is nan in row 3, of which --reward gap<1 says nothing"):
        of_arrays(tmp_path, {**LOG, "gap": gap}, reward="gap<1")


@pytest.mark.parametrize("role", ["obs", "action"])
def test_a_single_number_is_no_column(tmp_path, role):
    with pytest.raises(UserError, match=f"key '{role}': is a single number"):
        of_arrays(tmp_path, {**LOG, role: np.array(1.0)})


def test_a_row_of_no_episode_is_refused(tmp_path):
    episode = np.where(NUMBERS == 3, np.nan, NUMBERS // 3)
    with pytest.raises(UserError, match="key 'episode': is nan in row 3: no number of an episode"):
        of_arrays(tmp_path, {**{key: LOG[key] for key in ("obs", "action", "reward")}, "episode": episode})


def test_names_of_any_letters_are_kept_in_toml(tmp_path):
    names = ('é\n"\\', "\u200b", "\U000e0001b")
    (tmp_path / "log.columns.toml").write_text(choice_text({"observations": names}, ColumnChoice()))
    assert stored_choice(tmp_path / "log.npz").roles["observations"] == names


def test_whole_numbers_that_merge_in_float32_are_warned_of(tmp_path):
    found = of_arrays(tmp_path, {**LOG, "obs": 10**9 + np.arange(6)[:, None]}).findings
    assert any("steps of 64 there: values merge" in finding.text for finding in found)
    small = of_arrays(tmp_path, {**LOG, "obs": 2**20 + np.arange(6)[:, None]})
    assert not any("merge" in finding.text for finding in small.findings)


@pytest.mark.parametrize("name", ["terminated", "rew"])
def test_a_column_of_a_known_name_that_is_no_number_is_not_passed_over(tmp_path, name):
    arrays = {key: LOG[key] for key in ("obs", "action", "truncated")}
    arrays[name] = np.where(ENDS, "yes", "no")
    role = {"terminated": "terminations", "rew": "rewards"}[name]
    with pytest.raises(UserError, match=rf"key '{role}': '{name}' has the dtype <U3.*leave it out"):
        of_arrays(tmp_path, arrays)
    assert len(of_arrays(tmp_path, arrays, columns=f"{role}=").train) == 4


@pytest.mark.parametrize("package", ["pyarrow", "numpy"])
def test_line_breaks_within_a_cell_of_csv(tmp_path, package, monkeypatch):
    if package == "numpy":
        monkeypatch.setattr(csv_log, "find_spec", lambda package: None)
    # More than one block of pyarrow's, which are cut at line breaks.
    lines = (f'0.5,{i / 20},"a\n{"b," * 2**15}"\n' for i in range(20))
    (tmp_path / "log.csv").write_text("obs,action,note\n" + "".join(lines))
    expected = (np.arange(19) / 20).astype(np.float32)
    assert_array_equal(load(tmp_path / "log.csv").train.actions[:, 0], expected)


@pytest.mark.parametrize("package", ["pyarrow", "numpy"])
def test_time_stamps_of_csv_may_be_in_nanoseconds(tmp_path, package, monkeypatch):
    if package == "numpy":
        monkeypatch.setattr(csv_log, "find_spec", lambda package: None)
    lines = (f"{i},{i / 6},{1_700_000_000_123_456_789 + i * 10**8}\n" for i in range(6))
    (tmp_path / "log.csv").write_text("obs,action,timestamp\n" + "".join(lines))
    assert len(load(tmp_path / "log.csv").train) == 5


def test_parquets_own_types(tmp_path, monkeypatch):
    columns = {"obs": NUMBERS, "action": NUMBERS / 6, "truncated": ENDS}

    def of_table(table):
        pq.write_table(table, tmp_path / "log.parquet")
        return load(tmp_path / "log.parquet").train

    money = [Decimal(int(number)) / 4 for number in NUMBERS]
    assert_array_equal(of_table(pa.table({**columns, "reward": money})).rewards, [0, 0.25, 0.75, 1])
    listed = pa.table({**columns, "obs": [[one] for one in money], "reward": NUMBERS})
    assert_array_equal(of_table(listed).observations[:, 0], [0, 0.25, 0.75, 1])
    for lists, says in (
        ([[1.0]] * 5 + [None], "lacks 1 list of numbers"),
        ([[1.0]] * 5 + [[1.0, 2.0]], "holds lists of 1 to 2 numbers"),
    ):
        with pytest.raises(UserError, match=rf"log\.parquet, key 'obs': {says}"):
            of_table(pa.table({**columns, "obs": lists}))
    monkeypatch.setattr(row_pieces, "PIECE_BYTES", 50)
    table = pa.table({**columns, "obs": [[1.0]] * 4 + [[1.0, 2.0]] * 2})
    pq.write_table(table, tmp_path / "log.parquet", row_group_size=1)
    with pytest.raises(UserError, match=r"key 'obs': holds (lists of 1 to 2|vectors of different)"):
        shard(TASK, tmp_path / "log.parquet", tmp_path / "out")
    with pytest.raises(UserError, match="two columns with the name 'obs'"):
        of_table(pa.table([NUMBERS, NUMBERS, NUMBERS], names=["obs", "obs", "action"]))


def test_a_lerobot_folder_that_lacks_files_is_warned_of(tmp_path):
    shutil.copytree(OFFICIAL, tmp_path / "arm")
    warnings = [finding.text for finding in load(tmp_path / "arm").findings if "frames" in finding.text]
    assert not warnings
    file = sorted((tmp_path / "arm").glob("data/*/*.parquet"))[-1]
    nothing = pq.read_table(file).slice(0, 0)
    file.unlink()
    for dataset in (load(tmp_path / "arm"), shard(TASK, tmp_path / "arm", tmp_path / "out")):
        (warning,) = (finding.text for finding in dataset.findings if "frames" in finding.text)
        assert re.match(r"holds \d+ of the 18 frames that meta/info.json names", warning)
    checksum = load(tmp_path / "arm").checksum
    pq.write_table(nothing, file)
    assert load(tmp_path / "arm").checksum == checksum


def test_a_minari_set_is_not_read_with_files_of_own_units(tmp_path, recorded):
    bounds = {"action_low": [-2.0], "action_high": [2.0]}
    of_arrays(tmp_path, {**D4RL, "observations": np.ones((6, 3)), "terminals": ENDS, **bounds})
    with pytest.raises(UserError, match="key 'actions': are not in the units of"):
        load(f"{recorded},{tmp_path / 'log.npz'}")


def test_the_interface_is_of_the_entries_that_are_kept(tmp_path):
    seen = np.zeros((6, 111))
    seen[:, :27] = np.arange(6)[:, None]
    np.savez(tmp_path / "log.npz", **{**D4RL, "observations": seen, "terminals": ENDS})
    dataset = load_dataset(find_task("file/ant-mine"), tmp_path / "log.npz")
    assert dataset.train.spec.observation_size == 27
    record = {"interface": dataset.interface.record()}
    assert stored_interface(record, dataset.train.spec, "environment.json").observations == (
        Signal("observations", 27),
    )
    parts = PolicyInterface((Signal("a", 1), Signal("b", 3, ("x", "y", "z")), Signal("c", 2)), ())
    assert parts.with_observations(3).observations == (Signal("a", 1), Signal("b", 2, ("x", "y")))
    assert parts.with_observations(6) == parts


def test_arrays_in_memory_keep_their_successors_and_flags_whatever_their_names(tmp_path):
    arrays = {"actions": NUMBERS / 6, "rewards": NUMBERS, "timeouts": ENDS[:, None]}
    following = (NUMBERS + 50)[:, None]
    RecordedArrays({"cam/x": NUMBERS}, next_observations=following, **arrays).write(tmp_path / "log.npz")
    data = load(tmp_path / "log.npz").train
    assert_array_equal(data.next_observations, following)
    assert_array_equal(data.ends, ENDS)
    for changes, says in (
        ({"timeouts": np.where(ENDS, 1, np.nan)}, "timeouts is nan in row 0"),
        ({"observations": {"action_low": NUMBERS}}, "called 'action_low'"),
    ):
        with pytest.raises(UserError, match=says):
            RecordedArrays(**{"observations": NUMBERS, **arrays, **changes})
