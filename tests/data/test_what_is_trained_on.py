"""What becomes of a file is what its user means: no row, flag, unit or digit is lost without a word."""

import fcntl
import re
from pathlib import Path

import h5py
import numpy as np
import pytest

from tiltflow.cli.main import main
from tiltflow.data.arrays import write_hdf5, write_npz
from tiltflow.data.bounds import bound_actions
from tiltflow.data.formats import Recording
from tiltflow.data.load import audit_path, load_dataset
from tiltflow.errors import UserError
from tiltflow.tasks import find_task

N = 200


@pytest.fixture
def table():
    """Four episodes in D4RL's columns, without successors."""
    draw = np.random.default_rng(0)
    return {
        "observations": draw.normal(size=(N, 3)),
        "actions": draw.uniform(-1, 1, (N, 1)),
        "rewards": draw.normal(size=N),
        "terminals": np.arange(N) % 50 == 49,
        "timeouts": np.zeros(N, bool),
    }


def saved(folder: Path, table) -> Path:
    np.savez(folder / "x.npz", **table)
    return folder / "x.npz"


def load(folder: Path, table):
    return load_dataset(find_task("file/x"), saved(folder, table))


def texts(findings) -> str:
    return " ".join(map(str, findings))


def test_every_true_end_is_trained_on(tmp_path, table):
    """The last row of the file, and one that a time limit also ends, need no successor."""
    table["rewards"] = np.isin(np.arange(N), (49, 199)).astype(float)
    table["timeouts"][49] = True
    data = load(tmp_path, table).train
    assert (len(data), data.rewards.sum(), data.terminations.sum(), data.ends.sum()) == (N, 2, 4, 4)
    assert data.terminations[data.rewards > 0].all()


@pytest.mark.parametrize("rows", [N, 1])
def test_episodes_of_one_row_without_a_next_one_are_no_data(tmp_path, table, rows):
    table |= {"terminals": np.zeros(N, bool), "timeouts": np.ones(N, bool)}
    table = {key: column[:rows] for key, column in table.items()}
    with pytest.raises(UserError, match="no next one"):
        load(tmp_path, table)
    assert "no next one" in texts(audit_path(tmp_path / "x.npz"))


@pytest.mark.parametrize("key", ["observations", "actions"])
def test_vectors_without_entries_are_refused(tmp_path, table, key):
    table[key] = np.zeros((N, 0))
    assert "has no entries" in texts(audit_path(saved(tmp_path, table)))


@pytest.mark.parametrize("name", ["truncations", "truncated", "masks", "dones"])
def test_flags_by_other_names_than_d4rls_end_episodes(tmp_path, table, name):
    del table["timeouts"]
    table[name] = np.arange(N) == 24
    if name == "masks":
        table[name] = ~table[name]
    assert load(tmp_path, table).train.ends.sum() == 5


HOPPER = find_task("d4rl/hopper-medium-v2")


def hopper(table):
    draw = np.random.default_rng(1)
    return table | {"observations": draw.normal(size=(N, 11)), "actions": draw.uniform(-1, 1, (N, 3))}


@pytest.mark.parametrize("name", ["truncations", "truncated"])
def test_time_limits_of_a_tasks_file_by_another_name_are_taken(tmp_path, table, name):
    del table["timeouts"]
    table |= {name: np.arange(N) == 24, "infos/qpos": np.zeros(N), "extra": np.zeros(N)}
    dataset = load_dataset(HOPPER, saved(tmp_path, hopper(table)))
    assert dataset.train.ends.sum() == 5
    assert f"key {name!r}: read as timeouts" in texts(dataset.findings)
    assert "not read: extra" in texts(dataset.findings)


@pytest.mark.parametrize("name", ["masks", "dones", "truncations", "terminated"])
def test_flags_that_say_more_than_those_of_the_layout_are_refused(tmp_path, table, name):
    known, more = table["terminals"], np.arange(N) == 24
    table[name] = ~known if name == "masks" else known
    assert load_dataset(HOPPER, saved(tmp_path, hopper(table))).train.ends.sum() == 4
    table[name] = ~more if name == "masks" else more
    for task, arrays in ((HOPPER, hopper(table)), (find_task("file/x"), table)):
        with pytest.raises(UserError, match=rf"key '{name}', row 24: says that it is an? (true )?end"):
            load_dataset(task, saved(tmp_path, arrays))


def test_files_without_checksums_are_told_once(tmp_path, table):
    for number in (1, 2):
        np.savez(tmp_path / f"{number}.npz", **table)
    said = [str(one) for one in audit_path(tmp_path) if "no checksums" in one.text]
    assert len(said) == 1
    assert "1.npz: holds no checksums of its arrays (nor 1 other file)" in said[0]
    (tmp_path / "own").mkdir()
    write_npz(tmp_path / "own/1.npz", table)
    write_hdf5(tmp_path / "own/2.hdf5", table)
    assert "no checksums" not in texts(audit_path(tmp_path / "own"))


def test_ends_of_equal_lengths_may_be_time_limits(tmp_path, table):
    assert "each of the 4 episodes truly ends after 50 steps" in texts(load(tmp_path, table).findings)
    table["terminals"] = np.isin(np.arange(N), (49, 99, 150, 199))
    assert "truly ends" not in texts(load(tmp_path, table).findings)


@pytest.mark.parametrize(("key", "value"), [("observations", 1e39), ("rewards", -1e300)])
def test_what_float32_cannot_hold_is_refused(tmp_path, table, key, value):
    table[key][3] = value
    with pytest.raises(UserError, match=re.escape(f"{key}', row 3: is {value:g}")):
        load(tmp_path, table)


def test_values_that_merge_in_float32_are_warned_of(tmp_path, table):
    assert "values merge" not in texts(audit_path(saved(tmp_path, table)))
    table["observations"][:, 1] += 1e9
    assert "entry 1 differs by 0.99" in texts(load(tmp_path, table).findings)


def test_values_that_a_policy_sees_cut_off_are_warned_of(tmp_path, table):
    table["observations"][7, 2] = 1e4
    assert "entry 2: 1 values are further than 10 standard deviations" in texts(
        load(tmp_path, table).findings
    )


@pytest.mark.parametrize("side", [3.3e38, float("inf")])
def test_bounds_that_stand_for_none_are_refused(side):
    recordings = [Recording("x", {"actions": np.ones((4, 1))})]
    _, findings = bound_actions(recordings, None, ((-side,), (side,)))
    assert "that are none" in texts(findings)


def test_an_entry_that_is_pinned_is_0():
    recordings = [Recording("x", {"actions": np.array([[1.0, 5.0], [2.0, 5.0]])})]
    bounds, findings = bound_actions(recordings, None, ((0.0, 5.0), (2.0, 5.0)))
    assert (bounds, findings) == (((0.0, 5.0), (2.0, 5.0)), [])
    np.testing.assert_array_equal(recordings[0].columns["actions"], [[0, 0], [1, 0]])


def test_files_of_other_sizes_do_not_go_together(tmp_path, table, capsys):
    np.savez(tmp_path / "a.npz", **table)
    np.savez(tmp_path / "b.npz", **table | {"observations": table["observations"][:, :2]})
    with pytest.raises(UserError, match="2 and 1; 3 and 1"):
        load_dataset(find_task("d4rl/hopper-medium-v2"), tmp_path / f"a.npz,{tmp_path}/b.npz")


def test_a_file_may_have_a_comma_in_its_name(tmp_path, table):
    path = saved(tmp_path, table).rename(tmp_path / "a,b.npz")
    assert len(load_dataset(find_task("file/x"), path).train) == N


@pytest.mark.parametrize("what", ["gone.npz", "."])
def test_nothing_to_describe_is_told(tmp_path, monkeypatch, capsys, what):
    monkeypatch.chdir(tmp_path)
    assert main(["data", "info", what]) == 2
    assert "no file gone.npz" in capsys.readouterr().err or what == "."


def test_a_file_that_is_open_in_its_writer_is_not_called_damaged(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["observations"] = np.zeros((2, 1))
    with (tmp_path / "x.h5").open("rb") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)  # as the HDF5 library does
        assert "open in a program that writes it" in texts(audit_path(tmp_path / "x.h5"))
